// My history: J and K go from decision to decision; U reverses the one in focus, which Enter does
// anyway.
import { find, findAll } from "../core/dom.js";

const REVERSAL = "[data-reverses]:not(:disabled)";
const rows = findAll("[data-row]");

// The key belongs to one button at a time, so that it presses what is in focus.
function giveKeyTo(row) {
  for (const button of findAll("[data-reverses][data-hotkey]")) {
    delete button.dataset.hotkey;
    button.removeAttribute("aria-keyshortcuts");
  }
  const button = find(REVERSAL, row);
  if (button) {
    button.dataset.hotkey = "u";
    button.setAttribute("aria-keyshortcuts", "U");
  }
}

function move(step) {
  const current = rows.findIndex((row) => row.contains(document.activeElement));
  const next = Math.min(rows.length - 1, Math.max(0, current + step));
  const row = rows[current < 0 ? 0 : next];
  if (row) {
    (find(REVERSAL, row) ?? find("a[data-stop]", row)).focus();
  }
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-move]");
  if (button) {
    move(Number(button.dataset.move));
  }
});

document.addEventListener("focusin", ({ target }) => {
  const row = target.closest("[data-row]");
  if (row) {
    giveKeyTo(row);
  }
});

document.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const hasModifier = event.ctrlKey || event.metaKey || event.altKey;
  if (step && !hasModifier && event.target.closest("[data-row]")) {
    event.preventDefault();
    move(step);
  }
});
