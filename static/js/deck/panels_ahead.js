// Prefetched panels, the next first. Tests read #deck[data-ahead] and [data-next].
import { deckElement } from "./state.js";

let panels = [];

function publish() {
  deckElement.dataset.ahead = panels.length;
  deckElement.dataset.next = panels[0]?.dataset.review ?? "";
}

export const listAhead = () => panels;

export function setAhead(kept) {
  panels = kept;
  publish();
}

export function takeFirst() {
  const panel = panels.shift();
  publish();
  return panel;
}

export const putFirst = (panel) => setAhead([panel, ...panels]);

export const append = (fresh) => setAhead([...panels, ...fresh]);
