// A note that has been begun is there again after a look at a sibling.
import { find } from "../core/dom.js";

const drafts = new Map();

const getReview = () => find("#panel")?.dataset.review;

export function restoreDraft() {
  const draft = drafts.get(getReview());
  const note = find("#note");
  if (draft && note && !note.value) {
    note.value = draft;
  }
}

document.addEventListener("input", ({ target }) => {
  if (target.id === "note") {
    drafts.set(getReview(), target.value);
  }
});

document.addEventListener("submit", ({ target }) => {
  if (target.id === "action-bar") {
    drafts.delete(getReview());
  }
});
