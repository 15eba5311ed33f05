// Claim clock: show the time left on the claim, and renew it while the person works.
import { say } from "../core/announce.js";
import { find } from "../core/dom.js";
import { formatClock } from "../core/time.js";
import { getWorkedAt } from "./activity.js";
import { getShownFor } from "./settling.js";

const LOW = 60; // seconds
const RENEWS_AFTER = 60_000; // ms
const WARNS_AFTER = 3000; // ms; a reloaded page first renews its claim
const endsOfPanels = new WeakMap();
let claimEnds = 0;
let renewedAt = 0;

export const setPanelClaimEnds = (panel, ends) => endsOfPanels.set(panel, ends);

export function setClaimEnds(ends) {
  claimEnds = ends;
}

export function startClaim(panel, seconds) {
  claimEnds = endsOfPanels.get(panel) ?? performance.now() + 1000 * seconds;
  renewedAt = performance.now();
}

// The deck renews all claims together, and prevents the event's default: renewing this one alone.
function renew(clock) {
  renewedAt = performance.now();
  if (document.dispatchEvent(new CustomEvent("desk:renew", { cancelable: true }))) {
    htmx.trigger(clock.closest("[data-renews]"), "renew");
  }
}

export function showClaimTime() {
  const clock = find("[data-seconds]");
  if (!clock) {
    return;
  }
  const left = Math.max(0, Math.round((claimEnds - performance.now()) / 1000));
  clock.textContent = left ? `for ${formatClock(left)}` : "until somebody else takes it";
  const isLow = left < LOW && getShownFor() > WARNS_AFTER;
  if (left && isLow && !clock.hasAttribute("data-low")) {
    say("Your claim expires in a minute unless you continue to work.");
  }
  clock.toggleAttribute("data-low", isLow);
  if (left && getWorkedAt() > renewedAt && performance.now() - renewedAt >= RENEWS_AFTER) {
    renew(clock);
  }
}

setInterval(showClaimTime, 1000);
