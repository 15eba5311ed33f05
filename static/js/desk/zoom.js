// Zoom: enlarge and move the image.
import { say } from "../core/announce.js";
import { find } from "../core/dom.js";
import { moveCanvas, view } from "./canvas.js";

const STEP = 1.5;
const ZOOM_MAX = 16;
const PIXELS_COUNT_FROM = 4; // zoom from which single pixels are shown unsmoothed
let lastMessage = "";

const clamp = (value, limit) => Math.min(limit, Math.max(-limit, value));

const isSame = (one, other) => Math.abs(one - other) < 0.01;

function sayZoom(text) {
  lastMessage = text;
  say(text);
}

function showZoom(text, isActual) {
  const place = find("[data-zoom-shown]");
  if (place) {
    place.textContent = text;
    find("[data-actual]").ariaPressed = String(isActual);
  }
}

// Return the CSS pixels per pixel of the image while the whole image is shown.
function getFit() {
  const canvas = find("[data-canvas]");
  const image = find(".viewer .real");
  if (!canvas || !image) {
    return undefined;
  }
  const across = canvas.clientWidth / image.getAttribute("width");
  return Math.min(across, canvas.clientHeight / image.getAttribute("height"));
}

// Return the zoom at which one pixel of the image covers one pixel of the screen.
const getActualZoom = () => 1 / ((getFit() || 1) * devicePixelRatio);

export function zoomTo(wanted, x = view.x, y = view.y) {
  const canvas = find("[data-canvas]");
  if (!canvas) {
    return;
  }
  const actual = getActualZoom();
  const zoom = Math.min(ZOOM_MAX, Math.max(Math.min(view.least, actual), wanted));
  const room = (size) => Math.max(0, (size * (zoom - 1)) / 2);
  moveCanvas(zoom, clamp(x, room(canvas.clientWidth)), clamp(y, room(canvas.clientHeight)));
  find("#viewer").toggleAttribute("data-zoomed", zoom > 1);
  find("#viewer").toggleAttribute("data-close", zoom >= PIXELS_COUNT_FROM);
  const percent = `${Math.round((100 * zoom) / actual)}%`;
  showZoom(zoom === 1 ? "fit" : percent, isSame(zoom, actual));
  // Replace an outdated message about the previous size.
  if (lastMessage && find("#live").textContent === lastMessage) {
    sayZoom(zoom === 1 ? "The whole image." : `Shown at ${percent}.`);
  }
}

// Show the whole image: every new or returned panel starts with it.
export function resetZoom() {
  view.least = 1;
  moveCanvas(1, 0, 0);
  for (const name of ["data-zoomed", "data-close"]) {
    find("#viewer")?.removeAttribute(name);
  }
  showZoom("fit", false);
}

// Convert the small initial size into a zoom below 1, so that the next step is as large as any
// other.
export function enlargeSmall() {
  const small = find("#viewer[data-small]") && getFit();
  if (small) {
    find("#viewer").removeAttribute("data-small");
    view.least = small / getFit();
    view.zoom = view.least;
  }
}

export function zoomBy(direction) {
  enlargeSmall();
  const factor = direction > 0 ? STEP : 1 / STEP;
  if (direction) {
    zoomTo(view.zoom * factor, view.x * factor, view.y * factor);
  } else {
    zoomTo(1, 0, 0);
  }
}

export function toggleActualSize() {
  enlargeSmall();
  const actual = getActualZoom();
  const isThere = isSame(view.zoom, actual);
  if (isThere && isSame(actual, 1)) {
    sayZoom("Shown at its actual size already.");
    return;
  }
  zoomTo(isThere ? 1 : actual, 0, 0);
  const size = `Actual size${actual < 1 ? ", which is smaller than the room for it" : ""}.`;
  sayZoom(isThere ? "The whole image." : size);
}
