// My history: count down the time left to undo each decision, from the seconds that the server has
// sent.
import { find, findAll } from "../core/dom.js";
import { formatClock } from "../core/time.js";

const loadedAt = performance.now();

function endUndo(clock) {
  const row = clock.closest("[data-row]");
  const hadFocus = row.contains(document.activeElement);
  find("[data-reverses]", row).disabled = true;
  delete clock.dataset.left;
  clock.parentElement.textContent = "no longer possible";
  if (hadFocus) {
    find("a[data-stop]", row).focus();
  }
}

function countDown() {
  for (const clock of findAll("[data-left]")) {
    const left = Math.round(clock.dataset.left - (performance.now() - loadedAt) / 1000);
    if (left > 0) {
      clock.textContent = formatClock(left);
    } else {
      endUndo(clock);
    }
  }
}

countDown();
setInterval(countDown, 1000);
