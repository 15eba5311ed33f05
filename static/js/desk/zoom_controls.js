// Zoom controls: buttons, wheel, double click, and Shift with the arrows.
import { find } from "../core/dom.js";
import { view } from "./canvas.js";
import { enlargeSmall, toggleActualSize, zoomBy, zoomTo } from "./zoom.js";

const WHEEL_STEP = 1.2;
const PAN_STEP = 0.2; // of the canvas's shorter side
const PICTURE = ".viewer[data-revealed] .picture";
const DIRECTIONS = {
  ArrowLeft: [1, 0],
  ArrowRight: [-1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
};

function pan(key) {
  const canvas = find("[data-canvas]");
  const step = PAN_STEP * Math.min(canvas.clientWidth, canvas.clientHeight);
  const [x, y] = DIRECTIONS[key];
  zoomTo(view.zoom, view.x + x * step, view.y + y * step);
}

function zoomAtPointer(event) {
  enlargeSmall();
  const frame = find("[data-canvas]").parentElement.getBoundingClientRect();
  const factor = event.deltaY < 0 ? WHEEL_STEP : 1 / WHEEL_STEP;
  const x = event.clientX - frame.x - frame.width / 2;
  const y = event.clientY - frame.y - frame.height / 2;
  zoomTo(view.zoom * factor, x - (x - view.x) * factor, y - (y - view.y) * factor);
}

document.addEventListener(
  "click",
  ({ target }) => {
    const button = target.closest("button, a");
    if (button?.matches("[data-actual]")) {
      toggleActualSize();
    } else if (button?.matches("[data-zoom]")) {
      zoomBy(Number(button.dataset.zoom));
    }
  },
  true,
);

document.addEventListener("desk:key", (event) => {
  const key = event.detail;
  if (find("#panel") && key.shiftKey && key.key.startsWith("Arrow")) {
    event.preventDefault();
    pan(key.key);
  }
});

document.addEventListener(
  "wheel",
  (event) => {
    const isAtTheEnd = event.deltaY > 0 && view.zoom <= 1;
    if (event.target.closest?.(PICTURE) && !isAtTheEnd) {
      event.preventDefault();
      zoomAtPointer(event);
    }
  },
  { passive: false },
);

document.addEventListener("dblclick", ({ target }) => {
  if (target.closest(PICTURE)) {
    toggleActualSize();
  }
});
