// A key without effect says so.
import { warn } from "../core/announce.js";
import { find } from "../core/dom.js";

document.addEventListener("desk:unused-key", ({ detail: key }) => {
  if (find("#panel")) {
    warn(`“${key.toUpperCase()}” does nothing on this image now. “?” lists the keys.`);
  }
});
