// Lost keys: while the categories are open, letters and digits belong to them. Mark all other
// controls with such a key, and explain it in their titles.
import { findOpenChooser, isChooserKey } from "../core/controls.js";
import { findAll } from "../core/dom.js";

const REASON = "While the categories are open, letters and digits choose them. Esc closes them.";

function takeKey(element) {
  element.removeAttribute("aria-keyshortcuts");
  element.dataset.titleBefore = element.title;
  element.title = REASON;
}

function giveKeyBack(element) {
  element.setAttribute("aria-keyshortcuts", element.dataset.hotkey.toUpperCase());
  element.title = element.dataset.titleBefore;
  if (!element.title) {
    element.removeAttribute("title");
  }
  delete element.dataset.titleBefore;
}

function markLostKey(element, isLost) {
  if (isLost === element.hasAttribute("data-key-lost")) {
    return;
  }
  element.toggleAttribute("data-key-lost", isLost);
  if (isLost) {
    takeKey(element);
  } else {
    giveKeyBack(element);
  }
}

function markLostKeys() {
  const isOpen = Boolean(findOpenChooser());
  for (const element of findAll("[data-hotkey]:not(#chooser *)")) {
    const isOther =
      isChooserKey(element.dataset.hotkey) && !element.matches("[data-verdict=reject]");
    markLostKey(element, isOpen && isOther);
  }
}

document.addEventListener(
  "toggle",
  ({ target }) => {
    if (target.id === "chooser") {
      markLostKeys();
    }
  },
  true,
);
document.addEventListener("htmx:load", markLostKeys);
