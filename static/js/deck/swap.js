// Swap: show the image of a panel in the frame after the key, then the rest of the panel.
import { find } from "../core/dom.js";
import { afterPaint } from "../core/time.js";
import { onPanelShown } from "../desk/panel_shown.js";
import { markImageShown, markPanelShown } from "../desk/settling.js";
import { resetZoom } from "../desk/zoom.js";

let finishPending = null;

// Finish a pending swap before anything acts on the whole panel: a key may come before the frame.
export const finishSwap = () => finishPending?.();

export function replacePanel(before, panel) {
  for (const part of [before, panel]) {
    part.removeAttribute("inert");
    part.removeAttribute("data-waiting");
  }
  before.replaceWith(panel);
  onPanelShown(panel);
  find("#subject")?.focus({ preventScroll: true });
  history.replaceState(null, "", panel.dataset.address);
  document.title = `Image ${panel.dataset.name} · Loupe`;
  htmx.process(panel);
  scrollTo(0, 0);
  // Restart the settling time: on a slow machine the lines above take as long as a second press.
  markPanelShown();
}

const listImageParts = (panel) => [...panel.children].filter((part) => !part.matches(".inspector"));

export function showPanel(panel) {
  finishSwap();
  const before = find("#panel, #finished");
  if (before.id !== "panel") {
    replacePanel(before, panel);
    return;
  }
  const fresh = listImageParts(panel);
  const stale = listImageParts(before);
  const data = { ...before.dataset };
  const { className } = before;
  stale.forEach((part) => part.remove());
  before.prepend(...fresh);
  resetZoom();
  before.className = panel.className;
  before.removeAttribute("data-waiting");
  Object.assign(before.dataset, panel.dataset);
  markImageShown();
  finishPending = () => {
    finishPending = null;
    panel.prepend(...fresh);
    // Restore the old panel completely: an undo or a refused verdict shows it again.
    before.prepend(...stale);
    before.className = className;
    Object.assign(before.dataset, data);
    replacePanel(before, panel);
  };
  afterPaint(finishSwap);
}

for (const kind of ["keydown", "pointerdown", "click"]) {
  document.addEventListener(kind, finishSwap, true);
}
