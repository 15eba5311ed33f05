// Presses of a verdict that decide nothing, and say why.
import { warn } from "../core/announce.js";
import { find } from "../core/dom.js";
import { isSettling } from "./settling.js";

function stop(event) {
  event.preventDefault();
  event.stopImmediatePropagation();
}

document.addEventListener(
  "click",
  (event) => {
    const button = event.target.closest("button, a");
    if (button?.matches("[data-verdict]") && isSettling()) {
      stop(event);
      warn("Too quick: nothing was decided.");
    } else if (button?.ariaDisabled === "true") {
      stop(event);
      // What somebody types next was meant as a reason: it becomes a note, and no commands.
      find("#note")?.focus();
      warn(button.dataset.reason);
    }
  },
  true,
);
