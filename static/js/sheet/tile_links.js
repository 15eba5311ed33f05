// Where a tile leads: its image alone, or images that look the same one by one.
import { keepClaims } from "./leaving.js";

export function openTile(tile) {
  keepClaims();
  location.assign(tile.dataset.open);
}

export function takeApart(tile) {
  if (tile?.dataset.toggle) {
    htmx.ajax("GET", tile.dataset.toggle, { target: "#sheet", swap: "outerHTML" });
  }
}
