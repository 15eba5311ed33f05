// Settling: measure how long the panel has been on screen. Verdicts are refused for the first
// 300 ms, because the second half of a double press was meant for the image before. Tests read
// body[data-settled].

const SETTLES = 300; // ms
let shownAt = 0;
let timer = 0;

export const getShownFor = () => performance.now() - shownAt;

export const isSettling = () => getShownFor() < SETTLES;

// Start the settling time when the image is on screen, before the rest of its panel.
export function markImageShown() {
  shownAt = performance.now();
  clearTimeout(timer);
  delete document.body.dataset.settled;
}

export function markPanelShown() {
  markImageShown();
  timer = setTimeout(() => {
    document.body.dataset.settled = "";
  }, SETTLES);
}
