// Panels: start clocks, cover, zoom and draft when a panel, or a part of it, has been swapped in.
import { find } from "../core/dom.js";
import { showClaimTime, startClaim } from "./claim_clock.js";
import { restoreDraft } from "./drafts.js";
import { coverIfLetGo, coverLater, resetHold } from "./image_cover.js";
import { markPanelShown } from "./settling.js";
import { showUndoTime, startUndo } from "./undo_clock.js";
import { resetZoom } from "./zoom.js";

function begin(panel) {
  markPanelShown();
  resetHold();
  resetZoom();
  restoreDraft();
  const seconds = find("[data-undo]", panel)?.dataset.undo;
  if (seconds) {
    startUndo(seconds);
  }
  showUndoTime();
  showClaimTime();
}

export function onPanelShown(root) {
  const clock = root.matches("#claim, #panel, body") && find("[data-seconds]", root);
  if (clock) {
    startClaim(root, clock.dataset.seconds);
  }
  if (root.matches("#panel, body")) {
    begin(root);
  }
  if (root.id === "viewer") {
    coverIfLetGo();
  }
  if (root.matches("#panel, #viewer, body")) {
    coverLater();
  }
}

document.addEventListener("htmx:load", ({ target }) => {
  onPanelShown(target);
  // Focus the panel's heading if the focused element is gone.
  const hasLostFocus = document.activeElement === document.body;
  if (target.matches("#panel, #break[data-dismissed]") && hasLostFocus) {
    find("#subject")?.focus({ preventScroll: true });
  }
});
