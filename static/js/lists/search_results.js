// Search results: J, K and the arrows move the focus between the links.
import { findAll } from "../core/dom.js";

const RESULT = ".results .frame > a:first-child";
let lastIndex = -1; // of the last focused result

function goTo(index) {
  const links = findAll(RESULT);
  if (links.length) {
    lastIndex = Math.min(Math.max(index, 0), links.length - 1);
    links[lastIndex].focus();
  }
}

function countColumns() {
  const links = findAll(RESULT);
  const top = links[0].getBoundingClientRect().top;
  const count = links.findIndex((link) => link.getBoundingClientRect().top > top);
  return count > 0 ? count : links.length;
}

document.addEventListener("focusin", ({ target }) => {
  const index = findAll(RESULT).indexOf(target);
  if (index >= 0) {
    lastIndex = index;
  }
});

document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-move]");
  if (button) {
    goTo(lastIndex + Number(button.dataset.move));
  }
});

document.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const hasModifier = event.ctrlKey || event.metaKey || event.altKey || event.shiftKey;
  if (!step || hasModifier || !event.target.closest?.(RESULT)) {
    return;
  }
  const index = lastIndex + step * countColumns();
  if (index >= 0 && index < findAll(RESULT).length) {
    event.preventDefault();
    goTo(index);
  }
});
