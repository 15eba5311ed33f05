// A click beside an open menu closes it.
import { find } from "../core/dom.js";

document.addEventListener("click", ({ target }) => {
  if (!target.closest(".menu")) {
    find(".menu[open]")?.removeAttribute("open");
  }
});
