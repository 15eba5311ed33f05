// Drafts: restore an unsent note when the panel of its review is shown again.
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
