// Which reviews this window holds.
import { find } from "../core/dom.js";
import { listAhead } from "./panels_ahead.js";
import { listUnsent } from "./unsent.js";

const getCurrent = () => find("#panel")?.dataset.review;

export function listShown() {
  return [getCurrent(), ...listAhead().map((panel) => panel.dataset.review)].filter(Boolean);
}

// What is decided here and not sent yet is held, too.
export const listHeld = () => [...listShown(), ...listUnsent().map((item) => item.review)];

export const isHeld = (review) => listHeld().includes(review);
