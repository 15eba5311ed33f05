// Progress: how many images of the queue this window has dealt with today, of how many. The number
// left comes from the sidebar, so it also follows arrivals and the work of others.
import { find } from "../core/dom.js";
import { deckElement } from "./state.js";
import { listUnsent } from "./unsent.js";

const LEFT = "#sidebar a[aria-current] .num";
const today = new Date().toDateString();
const key = `loupe.progress.${deckElement?.dataset.user}.${deckElement?.dataset.queue}`;
let done = 0;
let total = null; // null: unknown, or too many to count

function load() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(key));
    done = kept?.day === today ? kept.done : 0;
  } catch {
    done = 0;
  }
}

function save() {
  try {
    sessionStorage.setItem(key, JSON.stringify({ day: today, done }));
  } catch {
    // sessionStorage is full or not available: the count starts again with the next page.
  }
}

const countUnsent = () => listUnsent().filter((item) => !item.isSkip).length;

// Verdicts that are not sent yet are still among those left.
function readTotal() {
  const left = find(LEFT)?.textContent ?? "";
  total = /^\d+$/.test(left) ? Math.max(done, done - countUnsent() + Number(left)) : null;
}

export function showProgress() {
  const place = find("#panel [data-progress]");
  if (place) {
    place.textContent = total ? `${done} of ${total} done` : done ? `${done} done` : "";
  }
}

export function countDone(step) {
  done = Math.max(0, done + step);
  save();
  showProgress();
}

export function startProgress() {
  load();
  readTotal();
  showProgress();
  document.addEventListener("htmx:load", ({ target }) => {
    if (target.matches("#sidebar")) {
      readTotal();
    }
    showProgress();
  });
}
