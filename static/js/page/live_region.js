// Where the bar has no room for it, a message is seen for a moment (layout.css). htmx writes
// messages, too.
import { find } from "../core/dom.js";

const FADES_AFTER = 5000; // ms
const live = find("#live");
let timer = 0;

function showForAMoment() {
  live.toggleAttribute("data-fresh", live.textContent.trim() !== "");
  clearTimeout(timer);
  timer = setTimeout(() => live.removeAttribute("data-fresh"), FADES_AFTER);
}

if (live) {
  new MutationObserver(showForAMoment).observe(live, { childList: true });
  showForAMoment();
}
