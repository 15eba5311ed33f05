// Tiles: decorate and restore them when the sheet, or its actions, have been swapped in.
import { find } from "../core/dom.js";
import { showClaimTime } from "./claim_clock.js";
import { startClaims } from "./claims.js";
import { getCursorIndex, goTo, moveOnIfGone } from "./cursor.js";
import { scrollBack } from "./place.js";
import { restoreReveal } from "./reveal.js";
import { isRemembered, select, showCount } from "./selection.js";
import { getCheckbox, isFree, isSelected, listTiles } from "./tiles.js";

const hasFocusNowhere = () => document.activeElement === document.body;

function decorateTiles() {
  const list = find("#tiles");
  if (list) {
    Object.assign(list, { role: "listbox", ariaMultiSelectable: "true" });
  }
  for (const tile of listTiles()) {
    const ariaSelected = String(isSelected(tile));
    Object.assign(tile, { role: "option", ariaLabel: tile.dataset.name, ariaSelected });
    getCheckbox(tile).hidden = true;
  }
  startClaims(find("#sheet").dataset.lease);
  showClaimTime();
}

function restoreTiles() {
  for (const tile of listTiles()) {
    select(tile, isSelected(tile) || isRemembered(tile));
    restoreReveal(tile);
  }
  moveOnIfGone();
}

export function onTilesShown(root) {
  if (root.matches("body, #sheet")) {
    decorateTiles();
    restoreTiles();
  }
  const list = find("#tiles");
  if (list) {
    list.inert = Boolean(find("#confirm"));
  }
  showCount();
  if (hasFocusNowhere() && isFree()) {
    goTo(getCursorIndex());
  } else if (list) {
    goTo(getCursorIndex(), { focus: false });
  }
  scrollBack();
}

document.addEventListener("htmx:load", ({ target }) => {
  if (target.matches("#sheet, #act")) {
    onTilesShown(target);
  }
  // Focus the cursor's tile: the focused button of the break suggestion is gone.
  if (target.matches("#break[data-dismissed]") && hasFocusNowhere() && isFree()) {
    goTo(getCursorIndex());
  }
});
