// Placeholder shown while no further panel is available.
import { say } from "../core/announce.js";
import { find } from "../core/dom.js";
import { state } from "./state.js";
import { listUnsent } from "./unsent.js";

export function describeWaiting() {
  if (!state.failures) {
    return "The next image is on its way.";
  }
  const unsent = `${listUnsent().length} unsent: kept in this browser, and sent when the connection is back.`;
  return `No connection, and no image is left here. ${unsent} The next image comes then.`;
}

export function showWaiting() {
  const place = find("#panel[data-waiting] [data-on-the-way]");
  if (place) {
    place.textContent = describeWaiting();
  }
}

export function waitForNext() {
  find("#panel")?.setAttribute("inert", "");
  find("#panel")?.setAttribute("data-waiting", "");
  state.isWaiting = true;
  showWaiting();
  if (state.failures) {
    say(describeWaiting());
  }
}
