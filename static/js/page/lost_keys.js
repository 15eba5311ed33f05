// Lost keys: the keys of the open chooser take precedence over those of the page. Mark the controls
// concerned, and explain it in their titles.
import { findOpenChooser, isShown } from "../core/controls.js";
import { findAll } from "../core/dom.js";

function listOwners() {
  const owners = new Map();
  const chooser = findOpenChooser();
  for (const element of chooser ? findAll("[data-hotkey]", chooser) : []) {
    if (isShown(element)) {
      owners.set(element.dataset.hotkey, element.dataset.label);
    }
  }
  return owners;
}

function takeKey(element, key, owner) {
  element.removeAttribute("aria-keyshortcuts");
  element.dataset.titleBefore = element.title;
  element.title = `While the categories are open, ${key} chooses ${owner}. Esc closes them.`;
}

function giveKeyBack(element, key) {
  element.setAttribute("aria-keyshortcuts", key);
  element.title = element.dataset.titleBefore;
  if (!element.title) {
    element.removeAttribute("title");
  }
  delete element.dataset.titleBefore;
}

function markLostKey(element, owner) {
  if (Boolean(owner) === element.hasAttribute("data-key-lost")) {
    return;
  }
  const key = element.dataset.hotkey.toUpperCase();
  element.toggleAttribute("data-key-lost", Boolean(owner));
  if (owner) {
    takeKey(element, key, owner);
  } else {
    giveKeyBack(element, key);
  }
}

function markLostKeys() {
  const owners = listOwners();
  for (const element of findAll("[data-hotkey]")) {
    if (!element.closest("#chooser")) {
      markLostKey(element, owners.get(element.dataset.hotkey));
    }
  }
}

document.addEventListener(
  "toggle",
  ({ target }) => {
    if (target.closest?.("#chooser")) {
      markLostKeys();
    }
  },
  true,
);
document.addEventListener("htmx:load", markLostKeys);
