// Unused keys: say that a key has no effect, on pages on which single keys decide.
import { warn } from "../core/announce.js";
import { findOpenChooser } from "../core/controls.js";
import { find } from "../core/dom.js";

document.addEventListener("desk:unused-key", ({ detail: key }) => {
  if (!find("#panel, #finished, #tiles")) {
    return;
  }
  const now = findOpenChooser() ? "while the categories are open. Esc closes them" : "here now";
  warn(`“${key.toUpperCase()}” does nothing ${now}. “?” lists the keys.`);
});
