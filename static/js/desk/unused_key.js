// Unused keys: warn about a key that has no effect.
import { warn } from "../core/announce.js";
import { find } from "../core/dom.js";

document.addEventListener("desk:unused-key", ({ detail: key }) => {
  if (find("#panel")) {
    warn(`“${key.toUpperCase()}” does nothing on this image now. “?” lists the keys.`);
  }
});
