// Entry point of a draft's page: handles on the histograms.
import { findAll } from "../core/dom.js";
import { addHandles } from "./handles.js";

for (const row of findAll("[data-draft] [data-rule]")) {
  addHandles(row);
}
