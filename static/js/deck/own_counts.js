// Own counts: update "You, today" at once; the server's next answer replaces the numbers.
import { find } from "../core/dom.js";

export function countOwn(verdict, step) {
  // A blurred image is approved.
  const count = verdict && find(`#sidebar-${verdict === "blur" ? "approve" : verdict} .num`);
  if (count && /^\d+$/.test(count.textContent)) {
    count.textContent = Math.max(0, Number(count.textContent) + step);
  }
}
