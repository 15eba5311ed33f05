// Cursor: the only tile in the tab order; keys move it. Kept across swaps by review.
import { find } from "../core/dom.js";
import { getMembers, isRevealed, listTiles } from "./tiles.js";

let current = ""; // a review of the tile under the cursor
let place = 0; // index of that tile

const findCurrent = () => listTiles().findIndex((tile) => getMembers(tile).includes(current));

export const getCursorIndex = () => Math.max(0, findCurrent());

export const getCursorTile = () => listTiles()[getCursorIndex()];

export const getCursor = () => ({ current, place });

export function setCursor(cursor) {
  ({ current, place } = cursor);
}

// A large copy of the tile: covered as long as the tile is.
function copyPicture(tile) {
  const figure = find(".picture", tile).cloneNode(true);
  const real = find(".real", figure);
  find(".alike-count", figure)?.remove();
  figure.classList.add("enlarged");
  figure.toggleAttribute("data-grey", "grey" in tile.dataset);
  if (isRevealed(tile) && real) {
    real.loading = "eager";
    find(".image-cover", figure).remove();
  } else {
    real?.remove();
  }
  return figure;
}

export function describeTile(tile) {
  const about = find("template", tile).content.cloneNode(true);
  find("#about")?.replaceChildren(copyPicture(tile), about);
  const apart = find("button[data-apart]");
  const peek = find("[data-peek]");
  if (apart) {
    apart.hidden = !tile.dataset.toggle;
  }
  if (peek) {
    peek.firstChild.data = isRevealed(tile) ? "Blur " : "Reveal ";
  }
}

export function goTo(index, { focus = true } = {}) {
  const tiles = listTiles();
  if (!tiles.length) {
    return;
  }
  place = Math.min(Math.max(0, index), tiles.length - 1);
  const tile = tiles[place];
  tiles.forEach((other) => {
    other.tabIndex = other === tile ? 0 : -1;
  });
  current = getMembers(tile)[0];
  if (focus) {
    tile.focus({ preventScroll: true });
    tile.scrollIntoView({ block: "nearest" });
  }
  describeTile(tile);
}

// Keep the position of the cursor if its tile has been decided.
export function moveOnIfGone() {
  const tiles = listTiles();
  if (tiles.length && findCurrent() < 0) {
    current = getMembers(tiles[Math.min(place, tiles.length - 1)])[0];
  }
}
