// Tiles of the sheet. A tile has one member, or those of a near-duplicate group.
import { find, findAll } from "../core/dom.js";

export const listTiles = () => findAll("#tiles .tile");

export const getCheckbox = (tile) => find("input[type=checkbox]", tile);

export const isSelected = (tile) => getCheckbox(tile).checked;

export const getMembers = (tile) => tile.dataset.members.trim().split(" ");

export const isGone = (tile) => "gone" in tile.dataset;

export const isRevealed = (tile) => "revealed" in tile.dataset;

// The tiles are inert while a preview of a decision is open.
export const isFree = () => !find("#tiles")?.inert;
