// Reveal: show a tile's image, requested on its first reveal, or cover it again.
import { find } from "../core/dom.js";
import { describeTile, getCursorTile } from "./cursor.js";
import { getMembers, isRevealed, listTiles } from "./tiles.js";

export const HOLD = 350; // ms after which a press is a peek, not a tap

const revealed = new Set(); // UUIDs of reviews, kept across swaps
let isCoveringOthers = false; // "Blur all" was pressed
let peeking = null;

function loadImage(tile) {
  const image = new Image();
  Object.assign(image, { className: "real", alt: "", draggable: false });
  image.src = find(".picture", tile).dataset.thumbnail;
  find(".image-cover", tile).after(image);
}

export function reveal(tile, isOn) {
  if (isOn && !find(".real", tile)) {
    loadImage(tile);
  }
  tile.toggleAttribute("data-revealed", isOn);
  if (isOn) {
    find("[name=seen]", tile).disabled = false;
  }
  for (const uuid of getMembers(tile)) {
    if (isOn) {
      revealed.add(uuid);
    } else {
      revealed.delete(uuid);
    }
  }
  if (tile === getCursorTile()) {
    describeTile(tile);
  }
}

export function revealAll(button) {
  const isOn = !listTiles().every(isRevealed);
  listTiles().forEach((tile) => reveal(tile, isOn));
  find("span", button).textContent = isOn ? "Blur all" : "Reveal all";
  isCoveringOthers = !isOn;
}

export function peek(tile) {
  reveal(tile, !isRevealed(tile));
  peeking = isRevealed(tile) ? { tile, since: performance.now() } : null;
}

export function restoreReveal(tile) {
  if (getMembers(tile).some((uuid) => revealed.has(uuid))) {
    reveal(tile, true);
  } else if (isCoveringOthers) {
    reveal(tile, false);
  }
}

document.addEventListener("keyup", ({ key }) => {
  if (!peeking || key.toLowerCase() !== find("[data-peek]").dataset.hotkey) {
    return;
  }
  if (performance.now() - peeking.since > HOLD) {
    reveal(peeking.tile, false);
  }
  peeking = null;
});
