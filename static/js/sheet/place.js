// The place on the sheet: kept in this tab, for as long as the claims last, until somebody comes
// back to it.
import { find } from "../core/dom.js";
import { listHeld } from "./claims.js";
import { getCursor, setCursor } from "./cursor.js";
import { listSelected, rememberSelected } from "./selection.js";

const LASTS = 300_000; // ms, as a claim does
let scrolled = null; // [of the tiles, of the page], until the tiles are there again

export function rememberScroll() {
  scrolled = [find("#tiles").scrollTop, scrollY];
}

export function keepPlace() {
  if (!find("#tiles")) {
    return;
  }
  rememberScroll();
  const kept = {
    ...getCursor(),
    at: Date.now(),
    shown: listHeld(),
    chosen: listSelected(),
    scrolled,
  };
  try {
    sessionStorage.setItem(find("#sheet").dataset.place, JSON.stringify(kept));
  } catch {
    // The storage is full, or forbidden.
  }
}

function readPlace() {
  try {
    return JSON.parse(sessionStorage.getItem(find("#sheet").dataset.place));
  } catch {
    return null; // forbidden, or not ours
  }
}

export function recallPlace() {
  const kept = readPlace();
  const isFresh = kept && Date.now() - kept.at <= LASTS;
  // When nothing of it is left, this is another sheet, and begins at its beginning.
  if (!isFresh || !listHeld().some((uuid) => kept.shown.includes(uuid))) {
    return;
  }
  setCursor(kept);
  ({ scrolled } = kept);
  kept.chosen.forEach(rememberSelected);
}

export function scrollBack() {
  if (!scrolled || !find("#tiles")) {
    return;
  }
  const [tiles, page] = scrolled;
  find("#tiles").scrollTop = tiles;
  scrollTo(0, page);
  scrolled = null;
}
