// Live region: mark new messages for five seconds, in which narrow windows show them (layout.css).
// The observer also sees messages that htmx swaps in.
import { find } from "../core/dom.js";

const FADES_AFTER = 5000; // ms
const live = find("#live");
let timer = 0;

function showForAMoment() {
  if (live.dataset.elsewhere !== live.textContent) {
    live.removeAttribute("data-elsewhere");
  }
  live.toggleAttribute("data-fresh", live.textContent.trim() !== "");
  clearTimeout(timer);
  timer = setTimeout(() => live.removeAttribute("data-fresh"), FADES_AFTER);
}

if (live) {
  new MutationObserver(showForAMoment).observe(live, { childList: true });
  showForAMoment();
}
