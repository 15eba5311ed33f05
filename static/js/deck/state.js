// The deck's state beside its two lists (panels_ahead.js, unsent.js). Tests read
// #deck[data-filling] and [data-sending].
import { find } from "../core/dom.js";

export const SIZE = 5; // images ahead

export const deckElement = find("#deck");

export const state = {
  failures: 0, // attempts to send in a row that got no answer
  isFilling: false,
  isIdle: false,
  isNothingLeft: false, // neither in the queue nor held in another window
  isQueueExhausted: false, // the queue gives no more; another window may hold some
  isSending: false,
  isWaiting: false, // the image on screen is decided, and no other is here
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
