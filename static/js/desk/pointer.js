// Pointer: drag an enlarged image; swipe with a finger to approve or reject.
import { findOpenChooser } from "../core/controls.js";
import { find } from "../core/dom.js";
import { view } from "./canvas.js";
import { zoomTo } from "./zoom.js";

const SWIPE = 90; // pixels
let grip = null;

function getSwipe(x, y) {
  if (Math.abs(x) < SWIPE || Math.abs(x) < 2 * Math.abs(y)) {
    return "";
  }
  return x > 0 ? "approve" : "reject";
}

function follow(x, y) {
  if (view.zoom > 1) {
    zoomTo(view.zoom, grip.from.x + x, grip.from.y + y);
  } else if (grip.isFinger) {
    find("#viewer").dataset.swipe = getSwipe(x, y);
  }
}

// Return whether the swipe would send a rejection that names no category.
function isNamingNone(swipe) {
  const chooser = findOpenChooser();
  return swipe === "reject" && chooser && !find(":checked", chooser);
}

function letGo({ type }) {
  const viewer = find("#viewer");
  const swipe = grip?.isFinger && type === "pointerup" && viewer?.dataset.swipe;
  grip = null;
  viewer?.removeAttribute("data-swipe");
  if (swipe && !isNamingNone(swipe)) {
    find(`#panel [data-verdict="${swipe}"]`)?.click();
  }
}

document.addEventListener("pointerdown", (event) => {
  if (!event.button && event.target.closest(".viewer .picture")) {
    const isFinger = event.pointerType === "touch";
    grip = { x: event.clientX, y: event.clientY, from: { ...view }, isFinger };
  }
});

document.addEventListener(
  "pointermove",
  ({ clientX, clientY }) => {
    if (grip) {
      follow(clientX - grip.x, clientY - grip.y);
    }
  },
  { passive: true },
);

document.addEventListener("pointerup", letGo);
document.addEventListener("pointercancel", letGo);
