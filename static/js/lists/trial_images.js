// Images of a trial: J, K and the arrows move between them; R, W and U judge the one in focus.
import { find, findAll } from "../core/dom.js";

const TILE = ".trial-images > li";
let current = null; // uuid of the review in focus

const getTiles = () => findAll(TILE);
const getLink = (tile) => find("a", tile);

// The keys press the buttons of this tile only.
function giveKeysTo(tile) {
  for (const button of findAll(`${TILE} [data-hotkey]`)) {
    delete button.dataset.hotkey;
    button.removeAttribute("aria-keyshortcuts");
  }
  for (const button of findAll("[data-key]", tile)) {
    button.dataset.hotkey = button.dataset.key;
    button.setAttribute("aria-keyshortcuts", button.dataset.key.toUpperCase());
  }
}

function focusOn(tile) {
  if (tile) {
    getLink(tile).focus();
  }
}

function move(step) {
  const tiles = getTiles();
  const index = tiles.findIndex((tile) => tile.dataset.review === current);
  focusOn(tiles[index < 0 ? 0 : Math.min(tiles.length - 1, Math.max(0, index + step))]);
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-move]");
  if (button) {
    move(Number(button.dataset.move));
  }
});

document.addEventListener("focusin", ({ target }) => {
  const tile = target.closest(TILE);
  if (tile) {
    current = tile.dataset.review;
    giveKeysTo(tile);
  }
});

// After an answer, go on with the next image.
document.addEventListener("htmx:afterSwap", ({ target }) => {
  if (target.matches(TILE) || target.closest(TILE)) {
    move(1);
  }
});
