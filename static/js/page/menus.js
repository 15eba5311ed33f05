// Menus: close the open menu on a click outside it.
import { find } from "../core/dom.js";

document.addEventListener("click", ({ target }) => {
  if (!target.closest(".menu")) {
    find(".menu[open]")?.removeAttribute("open");
  }
});
