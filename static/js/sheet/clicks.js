// Tile clicks: listen on the window, before the listeners on the document see the same click.
import { getCursorIndex, goTo } from "./cursor.js";
import { extendRange, toggle } from "./selection.js";
import { findTile } from "./find_tile.js";
import { openTile, takeApart } from "./tile_links.js";
import { listTiles } from "./tiles.js";
import { endLook } from "./touch.js";

function press(tile, { target, shiftKey }) {
  goTo(listTiles().indexOf(tile));
  if (target.closest("[data-apart]")) {
    takeApart(tile);
  } else if (shiftKey) {
    extendRange(getCursorIndex());
  } else {
    toggle(tile);
  }
}

addEventListener(
  "click",
  (event) => {
    const tile = findTile(event.target);
    if (!tile || event.target.closest("button, a")) {
      return;
    }
    event.preventDefault();
    if (!endLook()) {
      press(tile, event);
    }
  },
  true,
);

addEventListener("dblclick", ({ target }) => {
  const tile = findTile(target);
  if (tile && !target.closest("[data-apart]")) {
    openTile(tile);
  }
});
