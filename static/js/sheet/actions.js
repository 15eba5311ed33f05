// Sheet actions: handle the buttons beside the tiles.
import { find } from "../core/dom.js";
import { getCursorTile } from "./cursor.js";
import { keepClaims } from "./leaving.js";
import { peek, revealAll } from "./reveal.js";
import { takeApart } from "./tile_links.js";

function openChooser(chooser) {
  chooser.open = true;
  find(".choices :is(input, summary)", chooser).focus({ preventScroll: true });
}

const ACTIONS = {
  "[data-peek]": () => peek(getCursorTile()),
  "[data-peek-all]": revealAll,
  "[data-apart]": () => takeApart(getCursorTile()),
  "[data-keeps]": keepClaims,
};

function act(button, event) {
  const chooser = find("#chooser:not([open])");
  // The first press of Reject opens the categories, the second sends them.
  if (chooser && button.matches("[data-verdict=reject][data-bulk]")) {
    event.preventDefault();
    openChooser(chooser);
    return;
  }
  if (button.matches("[data-peek-all]")) {
    event.preventDefault();
  }
  for (const [selector, action] of Object.entries(ACTIONS)) {
    if (button.matches(selector)) {
      action(button);
    }
  }
}

addEventListener(
  "click",
  (event) => {
    const button = event.target.closest("button, a");
    if (button) {
      act(button, event);
    }
  },
  true,
);
