// Deck: show the next panel, a returned panel, or the end of the queue.
import { say } from "../core/announce.js";
import { find } from "../core/dom.js";
import { putFirst, takeFirst } from "./panels_ahead.js";
import { state } from "./state.js";
import { finishSwap, replacePanel, showPanel } from "./swap.js";
import { listUnsent } from "./unsent.js";
import { waitForNext } from "./waiting.js";

export function renewCounts() {
  if (find("#sidebar")) {
    htmx.trigger("#sidebar", "renew");
  }
}

function showFinished() {
  finishSwap();
  renewCounts();
  find("#panel, #finished").replaceWith(find("#deck-finished").content.cloneNode(true));
  find("#finished h1").focus({ preventScroll: true });
  say("Nothing is left for you in this queue.");
}

export function showNext() {
  const panel = takeFirst();
  if (panel) {
    showPanel(panel);
  } else if (state.isNothingLeft && !listUnsent().length) {
    showFinished();
  } else {
    waitForNext();
  }
}

export function bringBack(panel) {
  finishSwap();
  const current = find("#panel:not([data-waiting])");
  replacePanel(find("#panel, #finished"), panel);
  if (current && current.dataset.review !== panel.dataset.review) {
    putFirst(current);
  }
  state.isWaiting = false;
}
