// Pending mark: shown in the bar while the server has not answered for a second.
import { find } from "./dom.js";

const SLOW = 1000; // ms
let count = 0;

function change(step) {
  count += step;
  const mark = find("#pending");
  if (mark) {
    mark.hidden = !count;
  }
}

// Show the mark after a second. Returns a function that ends it.
export function showPending() {
  let isCounted = false;
  const timer = setTimeout(() => {
    isCounted = true;
    change(1);
  }, SLOW);
  return () => {
    clearTimeout(timer);
    if (isCounted) {
      change(-1);
    }
  };
}
