// Deck: report the reviews that this window holds.
import { find } from "../core/dom.js";
import { listAhead } from "./panels_ahead.js";
import { listUnsent } from "./unsent.js";

const getCurrent = () => find("#panel")?.dataset.review;

export function listShown() {
  return [getCurrent(), ...listAhead().map((panel) => panel.dataset.review)].filter(Boolean);
}

// Decided reviews stay claimed until their verdict is sent.
export const listHeld = () => [...listShown(), ...listUnsent().map((item) => item.review)];

export const isHeld = (review) => listHeld().includes(review);
