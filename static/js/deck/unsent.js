// Verdicts that the server has not taken yet, oldest first; each is in localStorage, too. Tests
// read #deck[data-unsent].
//
// An item: {name, url, body, label, review, isSkip, undoEnds, verdict}, the panel in memory, and
// isWritten.
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
    // The storage is full: the item is in memory.
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

// What another window has sent is gone from the storage.
export const isSentElsewhere = (item) => item.isWritten && !localStorage.getItem(getItemKey(item));
