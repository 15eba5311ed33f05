// Announcements: write messages to the live region, and show warnings beside the image.
import { find } from "./dom.js";

const WARNING_LASTS = 5000; // ms
let warningTimer = 0;

export function say(text) {
  find("#live").textContent = text;
}

// Announce a refused action, and show the reason beside the image.
export function warn(text) {
  say(text);
  const place = find("[data-feedback]");
  if (!place) {
    return;
  }
  place.textContent = text;
  find("#live").dataset.elsewhere = text; // the bar does not repeat it (live_region.js)
  clearTimeout(warningTimer);
  warningTimer = setTimeout(() => {
    place.textContent = "";
  }, WARNING_LASTS);
}
