// A category may stand twice in the chooser: as a suggestion and in its place.
import { findAll } from "./dom.js";

document.addEventListener("change", ({ target }) => {
  if (target.name === "categories") {
    for (const twin of findAll(`#chooser [value="${CSS.escape(target.value)}"]`)) {
      twin.checked = target.checked;
    }
  }
});
