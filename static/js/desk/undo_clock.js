// Undo clock: show the time left to undo the last decision.
import { findAll } from "../core/dom.js";
import { formatClock } from "../core/time.js";

let undoEnds = 0;

export const getUndoEnds = () => undoEnds;

export function setUndoEnds(ends) {
  undoEnds = ends;
}

export function startUndo(seconds) {
  undoEnds = performance.now() + 1000 * seconds;
}

export function showUndoTime() {
  const left = Math.max(0, Math.round((undoEnds - performance.now()) / 1000));
  for (const label of findAll("[data-undo-left]")) {
    label.textContent = left ? formatClock(left) : "";
  }
}

setInterval(showUndoTime, 1000);
