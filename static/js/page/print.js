// The button that prints a page. Folded parts are unfolded on paper, and folded again.
import { findAll } from "../core/dom.js";

let unfolded = [];

addEventListener("beforeprint", () => {
  unfolded = findAll("main details:not([open])");
  unfolded.forEach((part) => {
    part.open = true;
  });
});

addEventListener("afterprint", () => {
  unfolded.forEach((part) => {
    part.open = false;
  });
});

document.addEventListener("click", ({ target }) => {
  if (target.closest("[data-print]")) {
    print();
  }
});
