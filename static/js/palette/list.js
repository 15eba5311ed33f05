// Palette list: options of a listbox; the chosen one is the combobox's active descendant.
import { find } from "../core/dom.js";
import { dialog } from "./entries.js";

let entries = [];
let chosen = 0;

function makeOption(entry, index) {
  const option = document.createElement("li");
  option.id = `palette-${index}`;
  option.setAttribute("role", "option");
  const label = document.createElement("bdi");
  label.textContent = entry.label;
  const kind = document.createElement("span");
  kind.className = "faint small";
  kind.textContent = entry.key ? `${entry.kind} · ${entry.key}` : entry.kind;
  option.append(label, " ", kind);
  return option;
}

function markChosen() {
  const options = [...find("#palette-list").children];
  options.forEach((option, index) => option.setAttribute("aria-selected", index === chosen));
  const option = options[chosen];
  const input = find("input", dialog);
  if (option) {
    input.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  } else {
    input.removeAttribute("aria-activedescendant");
  }
}

export function showEntries(palette, found) {
  entries = found;
  chosen = 0;
  find("#palette-list").replaceChildren(...found.map(makeOption));
  const count = found.length;
  find("[data-palette-count]", palette).textContent = `${count} result${count === 1 ? "" : "s"}`;
  markChosen();
}

export function moveChoice(step) {
  if (entries.length) {
    chosen = (chosen + step + entries.length) % entries.length;
    markChosen();
  }
}

export const getChosen = () => entries[chosen];

export const chooseEntry = (option) =>
  option ? entries[Number(option.id.replace("palette-", ""))] : undefined;
