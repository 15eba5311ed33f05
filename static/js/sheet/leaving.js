// Leaving the sheet gives the claims back, unless the next page needs them.
import { find } from "../core/dom.js";
import { listHeld, makeClaimForm } from "./claims.js";
import { keepPlace } from "./place.js";

let isKeepingClaims = false;

export function keepClaims() {
  isKeepingClaims = true;
}

// They linger: the page may only be loading again. The page that comes may renew them before this
// arrives, which the server sees from when they ended as far as was known here.
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
