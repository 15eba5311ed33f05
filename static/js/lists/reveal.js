// Image lists: reveal the focused image, or all. A thumbnail is requested on its first reveal.
import { say } from "../core/announce.js";
import { find, findAll } from "../core/dom.js";

const TILE = "main :is(li, tr)";
const COVER = ".image-cover[data-thumbnail]";
let lastTile = null;

const getCover = (tile) => tile?.querySelector(COVER);

function reveal(cover, isOn) {
  if (isOn && !find(".real", cover)) {
    const image = new Image();
    image.className = "real";
    image.alt = "";
    image.src = cover.dataset.thumbnail;
    cover.append(image);
  }
  cover.toggleAttribute("data-revealed", isOn);
}

function revealOne() {
  const focused = document.activeElement.closest(TILE);
  const cover = getCover(getCover(focused) ? focused : lastTile);
  if (!cover?.isConnected) {
    say("Move to an image first, with Tab or the arrows.");
    return;
  }
  reveal(cover, !cover.hasAttribute("data-revealed"));
  say(cover.hasAttribute("data-revealed") ? "Revealed." : "Blurred.");
}

function revealAll(button) {
  const isOn = button.ariaPressed !== "true";
  button.ariaPressed = String(isOn);
  findAll(COVER).forEach((cover) => reveal(cover, isOn));
  say(isOn ? "All images are revealed." : "All images are blurred.");
}

document.addEventListener("focusin", ({ target }) => {
  const tile = target.closest(TILE);
  if (getCover(tile)) {
    lastTile = tile;
  }
});

document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-reveal-one], [data-reveal-all]");
  if (!button) {
    return;
  }
  if (button.matches("[data-reveal-all]")) {
    revealAll(button);
  } else {
    revealOne();
  }
});
