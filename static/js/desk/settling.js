// How long the panel has been on screen. For a moment it takes no verdict: the second half of a
// double press was meant for the image before this one. body[data-settled] shows to tests that the
// moment is over.

const SETTLES = 300; // ms
let shownAt = 0;
let timer = 0;

export const getShownFor = () => performance.now() - shownAt;

export const isSettling = () => getShownFor() < SETTLES;

// The image is on screen, the rest of the panel is not.
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
