// Selection of tiles, kept across swaps by review.
import { say } from "../core/announce.js";
import { find } from "../core/dom.js";
import { getCheckbox, getMembers, isGone, isSelected, listTiles } from "./tiles.js";

const selected = new Set();
let anchor = 0; // index of the tile at which a range starts
let before = null; // selection before the range began

export const rememberSelected = (uuid) => selected.add(uuid);

export const isRemembered = (tile) => getMembers(tile).every((uuid) => selected.has(uuid));

export const listSelected = () => listTiles().filter(isSelected).flatMap(getMembers);

export function select(tile, wanted) {
  const isOn = wanted && !isGone(tile);
  getCheckbox(tile).checked = isOn;
  tile.ariaSelected = String(isOn);
  for (const uuid of getMembers(tile)) {
    if (isOn) {
      selected.add(uuid);
    } else {
      selected.delete(uuid);
    }
  }
}

export function showCount() {
  const place = find("[data-selected]");
  if (!place) {
    return;
  }
  const tiles = listTiles().filter(isSelected).length;
  const images = listSelected().length;
  const where = images === tiles ? "" : ` in ${tiles} tile${tiles === 1 ? "" : "s"}`;
  place.textContent = images
    ? `${images} image${images === 1 ? "" : "s"}${where} selected`
    : "Nothing is selected";
}

export function toggle(tile) {
  if (isGone(tile)) {
    say("This image is no longer yours.");
    return;
  }
  select(tile, !isSelected(tile));
  anchor = listTiles().indexOf(tile);
  before = null;
  showCount();
}

export function selectAll(isOn) {
  listTiles().forEach((tile) => select(tile, isOn));
  before = null;
  showCount();
}

export function beginRange(index) {
  if (!before) {
    anchor = index;
  }
}

export function endRange() {
  before = null;
}

// Select the tiles from the anchor to the index, in addition to the earlier selection.
export function extendRange(index) {
  const tiles = listTiles();
  before ??= new Set(tiles.filter(isSelected).map((tile) => getCheckbox(tile).value));
  const low = Math.min(anchor, index);
  const high = Math.max(anchor, index);
  tiles.forEach((tile, number) => {
    const isInRange = number >= low && number <= high;
    select(tile, isInRange || before.has(getCheckbox(tile).value));
  });
  showCount();
}
