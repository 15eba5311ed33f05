// Panels: parse the server's HTML, and load and decode the images.
import { find, findAll } from "../core/dom.js";
import { setPanelClaimEnds } from "../desk/claim_clock.js";
import { noteClaimExpiry } from "./claim_expiry.js";

function prepare(panel) {
  const clock = find("[data-seconds]", panel);
  if (clock) {
    setPanelClaimEnds(panel, performance.now() + 1000 * clock.dataset.seconds);
    noteClaimExpiry(find("time", clock).dateTime);
  }
  find(".real", panel)
    ?.decode()
    .catch(() => {});
  return panel;
}

export function parsePanels(html) {
  const fragment = document.createRange().createContextualFragment(html);
  return findAll("[data-panel]", fragment).map(prepare);
}
