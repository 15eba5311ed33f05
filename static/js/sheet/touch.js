// Touch: reveal a tile while a finger or pen is held on it.
import { findTile } from "./find_tile.js";
import { HOLD, reveal } from "./reveal.js";
import { isRevealed } from "./tiles.js";

let press = null;

// Return whether the click that follows a press ends a peek.
export function endLook() {
  const isLook = Boolean(press?.hasLooked);
  if (isLook) {
    press = null;
  }
  return isLook;
}

function look() {
  press.hasLooked = !isRevealed(press.tile);
  reveal(press.tile, true);
}

function letGo() {
  if (!press) {
    return;
  }
  clearTimeout(press.timer);
  if (press.hasLooked) {
    reveal(press.tile, false);
  }
}

addEventListener("pointerdown", ({ target, pointerType }) => {
  const tile = pointerType !== "mouse" && findTile(target);
  press = tile ? { tile, hasLooked: false, timer: setTimeout(look, HOLD) } : null;
});

addEventListener("pointerup", letGo);
addEventListener("pointercancel", letGo);

addEventListener("contextmenu", (event) => {
  if (press?.hasLooked) {
    event.preventDefault();
  }
});
