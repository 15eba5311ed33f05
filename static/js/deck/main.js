// The deck: the next images are claimed, loaded and decoded while one is being judged, so the next
// is on screen in the frame after the key. The verdict goes out in the background; the answer
// refills the deck.
import { find } from "../core/dom.js";
import { noteClaimExpiry } from "./claim_expiry.js";
import { releaseClaims, renewClaims } from "./claims.js";
import { fill } from "./filling.js";
import { watchIdleness } from "./idle.js";
import { setAhead } from "./panels_ahead.js";
import { send } from "./sending.js";
import { deckElement, isDeciding, state } from "./state.js";
import { listUnsent, loadUnsent, writeAll } from "./unsent.js";
import "./verdicts.js";
import { waitForNext } from "./waiting.js";

const LOOKS_AGAIN_AFTER = 20_000; // ms: an exhausted queue may have got new images

function listen() {
  document.addEventListener("desk:renew", (event) => {
    event.preventDefault();
    renewClaims();
  });
  // A window may close in the frame after the key.
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
  if (isDeciding()) {
    // The image on screen may have been decided in a window that closed before it was sent.
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
