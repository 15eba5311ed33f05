// Place: keep cursor, selection and scroll positions in sessionStorage for the length of a claim.
import { find } from "../core/dom.js";
import { listHeld } from "./claims.js";
import { getCursor, setCursor } from "./cursor.js";
import { listSelected, rememberSelected } from "./selection.js";

const LASTS = 300_000; // ms, the length of a claim
let scrolled = null; // scroll positions [tiles, page] to restore when the tiles are shown

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
    // sessionStorage is full or not available.
  }
}

function readPlace() {
  try {
    return JSON.parse(sessionStorage.getItem(find("#sheet").dataset.place));
  } catch {
    return null; // not available, or not valid JSON
  }
}

export function recallPlace() {
  const kept = readPlace();
  const isFresh = kept && Date.now() - kept.at <= LASTS;
  // A sheet without any of the kept images is another one, and starts at its top.
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
