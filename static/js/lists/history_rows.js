// My history: J, K and the arrows move the focus between decisions; U reverses the focused one, as
// Enter on its button does.
import { find, findAll } from "../core/dom.js";

const REVERSAL = "[data-reverses]:not(:disabled)";
const rows = findAll("[data-row]");

// Assign the hotkey of the undo to the button of this row only, so that it reverses the focused decision.
function giveKeyTo(row) {
  for (const button of findAll("[data-reverses][data-hotkey]")) {
    delete button.dataset.hotkey;
    button.removeAttribute("aria-keyshortcuts");
  }
  const button = find(REVERSAL, row);
  if (button) {
    const key = find("kbd", button).textContent;
    button.dataset.hotkey = key.toLowerCase();
    button.setAttribute("aria-keyshortcuts", key);
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
