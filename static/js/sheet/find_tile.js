// Tile lookup: return the tile that contains an event's target.
import { isFree } from "./tiles.js";

export const findTile = (target) => (isFree() ? target.closest?.("#tiles .tile") : null);
