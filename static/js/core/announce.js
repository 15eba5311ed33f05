// Announcements: write messages to the live region, and show warnings beside the image.
import { find } from "./dom.js";

const WARNING_LASTS = 5000; // ms
let warningTimer = 0;

export function say(text) {
  find("#live").textContent = text;
}

// Announce a message that the page shows in another place too: the bar does not repeat it
// (live_region.js).
export function sayShown(text) {
  say(text);
  find("#live").dataset.elsewhere = text;
}

// Announce a refused action, and show the reason beside the image.
export function warn(text) {
  const place = find("[data-feedback]");
  if (!place) {
    say(text);
    return;
  }
  sayShown(text);
  place.textContent = text;
  clearTimeout(warningTimer);
  warningTimer = setTimeout(() => {
    place.textContent = "";
  }, WARNING_LASTS);
}
