// Unsent decisions in localStorage: one entry each, keyed by person and decision.

const PREFIX = "loupe.unsent.";

export const getKey = (user, name) => `${PREFIX}${user}.${name}`;

// Return the keys in order of time: they end with UUIDs of version 7.
export function listKeys(user) {
  return Object.keys(localStorage)
    .filter((key) => key.startsWith(getKey(user, "")))
    .sort();
}

export function countUnsentOfAll() {
  try {
    return Object.keys(localStorage).filter((key) => key.startsWith(PREFIX)).length;
  } catch {
    return 0;
  }
}

export function read(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null;
  }
}

export const remove = (key) => localStorage.removeItem(key);
