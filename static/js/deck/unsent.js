// Unsent verdicts and skips, oldest first; each is also written to localStorage. Tests read
// #deck[data-unsent].
//
// Item: {name, url, body, label, review, isSkip, undoEnds, verdict}, the panel (in memory only),
// and isWritten.
import { afterPaint } from "../core/time.js";
import { getKey, listKeys, read, remove } from "../unsent/storage.js";
import { deckElement } from "./state.js";

let items = [];

export const getItemKey = (item) => getKey(deckElement.dataset.user, item.name);

function publish() {
  deckElement.dataset.unsent = items.length;
}

export const listUnsent = () => items;

export function loadUnsent() {
  items = listKeys(deckElement.dataset.user).map(read).filter(Boolean);
  publish();
}

function write(item) {
  if (!items.includes(item)) {
    return;
  }
  const kept = { ...item, panel: undefined, isWritten: true };
  try {
    localStorage.setItem(getItemKey(item), JSON.stringify(kept));
    item.isWritten = true;
  } catch {
    // localStorage is full or not available: the item stays in memory.
  }
}

export const writeAll = () => items.forEach(write);

export function keep(item) {
  items.push(item);
  publish();
  afterPaint(() => write(item));
}

export function drop(item) {
  items = items.filter((other) => other !== item);
  remove(getItemKey(item));
  publish();
}

// Sent items are removed from localStorage by the window that has sent them.
export const isSentElsewhere = (item) => item.isWritten && !localStorage.getItem(getItemKey(item));
