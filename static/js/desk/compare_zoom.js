// Compare: zoom and offset of both images, in a stylesheet of their own (see canvas.js).
import { find } from "../core/dom.js";

export const STEP = 1.5;
const ZOOM_MAX = 16;
export const view = { zoom: 1, x: 0, y: 0 };

const stylesheet = new CSSStyleSheet();
stylesheet.insertRule("#compare .pane img {}");
document.adoptedStyleSheets.push(stylesheet);

export function transform(zoom, x, y) {
  Object.assign(view, { zoom, x, y });
  stylesheet.cssRules[0].style.setProperty("transform", `translate(${x}px, ${y}px) scale(${zoom})`);
  find("#compare [data-scale]").textContent = zoom === 1 ? "fit" : `×${zoom.toFixed(1)}`;
}

export function zoomBy(factor) {
  const zoom = Math.min(ZOOM_MAX, Math.max(1, view.zoom * factor));
  const share = zoom === 1 ? 0 : zoom / view.zoom;
  transform(zoom, view.x * share, view.y * share);
}
