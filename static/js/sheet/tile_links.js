// Tile links: open a tile's image, or expand or collapse its near-duplicate group.
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
