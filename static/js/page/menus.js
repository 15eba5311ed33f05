// Menus: close open menus on a click outside them.
import { findAll } from "../core/dom.js";

document.addEventListener("click", ({ target }) => {
  findAll(".menu[open]")
    .filter((menu) => !menu.contains(target))
    .forEach((menu) => menu.removeAttribute("open"));
});
