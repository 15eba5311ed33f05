// Filmstrip: update the badge of a decided image in panels rendered before the decision.
import { find } from "../core/dom.js";
import { listAhead } from "./panels_ahead.js";

const OUTCOMES = {
  approve: { status: "approved", name: "Approved", word: "OK" },
  blur: { status: "approved", name: "Approved blurred", word: "Blur" },
  reject: { status: "rejected", name: "Rejected", word: "No" },
  escalate: { status: "escalated", name: "Escalated", word: "Esc" },
};
const NO_OUTCOME = { status: "pending", name: "Awaiting a decision", word: "Due" };

function findBadge(panel, review) {
  const badge = panel?.querySelector(`.filmstrip a[href^="/reviews/${review}/"] .badge`);
  // Second opinions are blind: their filmstrips show no outcome.
  const isSecret = badge?.dataset.status === "hidden" || panel?.querySelector("[data-blind]");
  return isSecret ? null : badge;
}

export function markSibling(review, verdict) {
  const outcome = OUTCOMES[verdict] ?? NO_OUTCOME;
  for (const panel of [...listAhead(), find("#panel")]) {
    const badge = findBadge(panel, review);
    if (badge) {
      badge.dataset.status = outcome.status;
      badge.firstElementChild.textContent = outcome.name;
      badge.lastElementChild.textContent = outcome.word;
    }
  }
}
