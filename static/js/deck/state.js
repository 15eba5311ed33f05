// Deck state, except the prefetched panels (panels_ahead.js) and unsent verdicts (unsent.js). Tests
// read #deck[data-filling] and [data-sending].
import { find } from "../core/dom.js";

export const SIZE = 5; // prefetched images

export const deckElement = find("#deck");

export const state = {
  failures: 0, // consecutive failed attempts to send
  isFilling: false,
  isIdle: false,
  isNothingLeft: false, // nothing in the queue, nor claimed in another window
  isQueueExhausted: false, // nothing unclaimed; another window may hold some
  isSending: false,
  isWaiting: false, // the image on screen is decided, and no further panel is here
};

export const isDeciding = () => deckElement && find("#action-bar[data-action-bar=deciding]");

export function setFilling(isOn) {
  state.isFilling = isOn;
  deckElement.toggleAttribute("data-filling", isOn);
}

export function setSending(isOn) {
  state.isSending = isOn;
  deckElement.toggleAttribute("data-sending", isOn);
}
