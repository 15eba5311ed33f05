// Chooser: keep both checkboxes of a category in step. A suggested category is listed twice.
import { findAll } from "./dom.js";

document.addEventListener("change", ({ target }) => {
  if (target.name === "categories") {
    for (const twin of findAll(`#chooser [value="${CSS.escape(target.value)}"]`)) {
      twin.checked = target.checked;
    }
  }
});
