// Panels that another window of the same person holds, too.

const panels = new WeakSet();

export const noteTakenOver = (panel) => panels.add(panel);

export const isTakenOver = (panel) => panels.has(panel);
