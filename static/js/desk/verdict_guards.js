// Verdict guards: stop presses that come too early or are not available, and give the reason.
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
      // Focus the note: a reason typed next must not run as hotkeys.
      find("#note")?.focus();
      warn(button.dataset.reason);
    }
  },
  true,
);
