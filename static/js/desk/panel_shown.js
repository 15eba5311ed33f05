// What a panel, or a part of it, needs when it has come in.
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
  // What had focus is gone: reading goes on at the top of the panel.
  const hasLostFocus = document.activeElement === document.body;
  if (target.matches("#panel, #break[data-dismissed]") && hasLostFocus) {
    find("#subject")?.focus({ preventScroll: true });
  }
});
