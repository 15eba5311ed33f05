// Refill the deck with unclaimed reviews. If the queue is exhausted and the person is waiting, also
// request the reviews that the same person has claimed in another window, open or closed, before
// reporting that nothing is left.
import { find } from "../core/dom.js";
import { showNext } from "./advance.js";
import { listHeld, isHeld } from "./held.js";
import { append, listAhead } from "./panels_ahead.js";
import { parsePanels } from "./parse_panels.js";
import { post } from "./post.js";
import { SIZE, deckElement, setFilling, state } from "./state.js";
import { noteTakenOver } from "./taken_over.js";
import { listUnsent } from "./unsent.js";

export function goOn() {
  showNext();
  if (state.isWaiting && state.isQueueExhausted && !state.isNothingLeft) {
    fill({ isWithHeld: true });
  }
}

function goOnIfWaiting() {
  if (state.isWaiting && (listAhead().length || state.isQueueExhausted)) {
    state.isWaiting = false;
    goOn();
  }
  if (listAhead().length && find("#finished")) {
    goOn();
  }
}

export function takePanels(html, { isWithHeld = false } = {}) {
  const fresh = parsePanels(html).filter((panel) => !isHeld(panel.dataset.review));
  if (isWithHeld) {
    fresh.forEach(noteTakenOver);
  }
  append(fresh);
  state.isQueueExhausted = !fresh.length && listAhead().length < SIZE;
  state.isNothingLeft = state.isQueueExhausted && (isWithHeld || state.isNothingLeft);
  goOnIfWaiting();
}

function canFill(wanted) {
  const isBusy = state.isFilling || state.isIdle;
  return wanted > 0 && !isBusy && (!state.isQueueExhausted || state.isWaiting);
}

export async function fill({ isWithHeld = false } = {}) {
  const wanted = SIZE - listAhead().length - (listUnsent().length ? 1 : 0);
  if (!canFill(wanted)) {
    return;
  }
  const held = isWithHeld ? [["held", 1], ...listHeld().map((review) => ["have", review])] : [];
  setFilling(true);
  let answer = null;
  try {
    answer = await post(deckElement.dataset.url, [["deck", 1], ["want", wanted], ...held]);
  } catch {
    // No connection: the next verdict, check of the queue or "online" event tries again.
  }
  setFilling(false);
  if (answer?.ok) {
    takePanels(answer.text, { isWithHeld });
  }
}
