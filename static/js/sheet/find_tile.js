// The tile that a pointer means.
import { isFree } from "./tiles.js";

export const findTile = (target) => (isFree() ? target.closest?.("#tiles .tile") : null);
