// Claim clock: show the time left on the claims of the sheet. Renew them while the person works,
// and when the window regains the focus.
import { say } from "../core/announce.js";
import { find } from "../core/dom.js";
import { formatClock } from "../core/time.js";
import { getClaimsEnd, getRenewedAt, getRenewedFor, renewClaims } from "./claims.js";

const LOW = 60; // seconds
const RENEWS_AFTER = 60_000; // ms
const ASKS_AGAIN_AFTER = 5000; // ms; another window of the sheet may have shortened the claims
let workedAt = 0;

export function showClaimTime() {
  const clock = find("[data-clock]");
  if (!clock) {
    return;
  }
  const left = Math.max(0, Math.round((getClaimsEnd() - performance.now()) / 1000));
  clock.textContent = left ? `for ${formatClock(left)}` : "no longer: the claims have lapsed";
  if (left && left < LOW && !clock.hasAttribute("data-low")) {
    say("Your claims expire in a minute unless you continue to work.");
  }
  clock.toggleAttribute("data-low", left < LOW);
  if (left && workedAt > getRenewedAt() && getRenewedFor() > RENEWS_AFTER) {
    renewClaims();
  }
}

for (const kind of ["keydown", "pointermove", "pointerdown"]) {
  addEventListener(
    kind,
    () => {
      workedAt = performance.now();
    },
    { passive: true },
  );
}

setInterval(showClaimTime, 1000);

addEventListener("focus", () => {
  if (getRenewedFor() > ASKS_AGAIN_AFTER) {
    renewClaims();
  }
});
