// The tiles of the sheet. A tile has one member, or several images that look the same.
import { find, findAll } from "../core/dom.js";

export const listTiles = () => findAll("#tiles .tile");

export const getCheckbox = (tile) => find("input[type=checkbox]", tile);

export const isSelected = (tile) => getCheckbox(tile).checked;

export const getMembers = (tile) => tile.dataset.members.trim().split(" ");

export const isGone = (tile) => "gone" in tile.dataset;

export const isRevealed = (tile) => "revealed" in tile.dataset;

// While a preview is open, the tiles take nothing.
export const isFree = () => !find("#tiles")?.inert;
