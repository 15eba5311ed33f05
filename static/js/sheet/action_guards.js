// Action guards: stop presses of buttons that are not available, and give the reason.
import { say, warn } from "../core/announce.js";
import { find } from "../core/dom.js";
import { isSelected, listTiles } from "./tiles.js";

function stop(event) {
  event.preventDefault();
  event.stopImmediatePropagation();
}

function explain(reason) {
  const dialog = find("#unavailable");
  find("#unavailable-reason").textContent = reason;
  dialog.showModal();
  dialog.focus();
  say(reason);
}

addEventListener(
  "click",
  (event) => {
    const button = event.target.closest("button, a");
    if (button?.ariaDisabled === "true") {
      stop(event);
      explain(button.dataset.reason);
    } else if (button?.matches("[data-bulk]") && !listTiles().some(isSelected)) {
      stop(event);
      warn("Nothing is selected. Space selects the image under the cursor.");
    }
  },
  true,
);
