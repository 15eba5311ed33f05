// Cursor keys: move the cursor through the grid.
import { getCursor, getCursorIndex, goTo } from "./cursor.js";
import { beginRange, endRange, extendRange } from "./selection.js";
import { listTiles } from "./tiles.js";

function countColumns() {
  const tiles = listTiles();
  const count = tiles.findIndex((tile) => tile.offsetTop > tiles[0].offsetTop);
  return count < 0 ? tiles.length : count;
}

const STEPS = {
  ArrowLeft: () => -1,
  ArrowRight: () => 1,
  ArrowUp: () => -countColumns(),
  ArrowDown: countColumns,
  h: () => -1,
  l: () => 1,
  k: () => -countColumns(),
  j: countColumns,
  Home: () => -Infinity,
  End: () => Infinity,
};

export const isMove = (key) => key in STEPS;

// Return whether the cursor stays: the step leads above the first tile, or is a single step past
// the last. goTo() ends a longer step past the last tile at that tile.
function isBeyond(step, index) {
  const isPastEnd = index >= listTiles().length && Math.abs(step) === 1;
  return Number.isFinite(step) && (index < 0 || isPastEnd);
}

export function move(key, isRange) {
  const from = getCursorIndex();
  const step = STEPS[key]();
  if (isBeyond(step, from + step)) {
    return;
  }
  if (isRange) {
    beginRange(from);
  }
  goTo(from + step);
  if (isRange) {
    extendRange(getCursor().place);
  } else {
    endRange();
  }
}
