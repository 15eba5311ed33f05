// Deck: claim, load and decode the next images while one is being reviewed, so that the next is on
// screen in the frame after the key. Verdicts are sent in the background; the answers refill the
// deck.
import { find } from "../core/dom.js";
import { noteClaimExpiry } from "./claim_expiry.js";
import { releaseClaims, renewClaims } from "./claims.js";
import { fill } from "./filling.js";
import { watchIdleness } from "./idle.js";
import { setAhead } from "./panels_ahead.js";
import { startProgress } from "./progress.js";
import { send } from "./sending.js";
import { deckElement, isDeciding, state } from "./state.js";
import { listUnsent, loadUnsent, writeAll } from "./unsent.js";
import "./verdicts.js";
import { waitForNext } from "./waiting.js";

const LOOKS_AGAIN_AFTER = 20_000; // ms between checks of an exhausted queue for new images

function listen() {
  document.addEventListener("desk:renew", (event) => {
    event.preventDefault();
    renewClaims();
  });
  // Write unsent verdicts now: the window may close before their deferred write.
  addEventListener("pagehide", () => {
    writeAll();
    releaseClaims();
  });
  addEventListener("pageshow", ({ persisted }) => {
    if (persisted) {
      location.reload();
    }
  });
  addEventListener("online", () => {
    state.failures = Math.min(state.failures, 1);
    send();
    fill();
  });
  setInterval(watchIdleness, 1000);
  setInterval(() => {
    if (state.isQueueExhausted) {
      state.isQueueExhausted = false;
      fill();
    }
  }, LOOKS_AGAIN_AFTER);
}

function start() {
  setAhead([]);
  loadUnsent();
  noteClaimExpiry(find("#claim time")?.dateTime);
  startProgress();
  if (isDeciding()) {
    // Wait for the next image if a closed window has left an unsent verdict on this one.
    if (listUnsent().some((item) => item.review === find("#panel").dataset.review)) {
      waitForNext();
    }
    renewClaims();
    fill();
  }
  send();
}

if (deckElement) {
  listen();
  start();
}
