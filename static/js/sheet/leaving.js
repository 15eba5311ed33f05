// Leaving: shorten the claims when the sheet is left, unless the next page needs them.
import { find } from "../core/dom.js";
import { listHeld, makeClaimForm } from "./claims.js";
import { keepPlace } from "./place.js";

let isKeepingClaims = false;

export function keepClaims() {
  isKeepingClaims = true;
}

// Shorten the claims instead of releasing them: the page may only be reloading. `until` is their
// end as known here. The server keeps claims with a later end, which the next page has renewed.
function releaseClaims() {
  const { until, release } = find("#sheet").dataset;
  const data = makeClaimForm("lingers");
  data.set("until", until);
  navigator.sendBeacon(release, data);
}

addEventListener("submit", keepClaims);

document.addEventListener("htmx:afterRequest", ({ detail }) => {
  if (!detail.elt.matches("[data-quiet]")) {
    isKeepingClaims = false;
  }
});

addEventListener("pagehide", () => {
  keepPlace();
  if (!isKeepingClaims && listHeld().length) {
    releaseClaims();
  }
});

addEventListener("pageshow", ({ persisted }) => {
  isKeepingClaims = false;
  if (persisted) {
    location.reload();
  }
});
