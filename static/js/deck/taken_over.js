// Panels whose claims may be shared with another window of the same person.

const panels = new WeakSet();

export const noteTakenOver = (panel) => panels.add(panel);

export const isTakenOver = (panel) => panels.has(panel);
