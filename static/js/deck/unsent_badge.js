// Unsent badge: show in the bar how many verdicts are unsent, and why.
import { say } from "../core/announce.js";
import { find } from "../core/dom.js";
import { state } from "./state.js";
import { listUnsent } from "./unsent.js";
import { showWaiting } from "./waiting.js";

// True after a verdict was announced as unsent: its sending is then announced, too.
let isToldLate = false;

function showBadge(badge, text, isSaving) {
  badge.toggleAttribute("data-saving", isSaving);
  find("[data-count]", badge).textContent = listUnsent().length;
  find("[data-reason]", badge).textContent = text;
}

export function updateBadge(problem = "") {
  const badge = find("#unsent");
  badge.hidden = !listUnsent().length || (!state.failures && !problem);
  showBadge(badge, `unsent, ${problem || "no connection"}`, false);
  showWaiting();
}

// Show a verdict as unsent when the request takes longer than SLOW (sending.js).
export function noteSlow(item) {
  if (state.failures || !listUnsent().includes(item)) {
    return;
  }
  const badge = find("#unsent");
  badge.hidden = false;
  showBadge(badge, "unsent, sending…", true);
  isToldLate = true;
  say(`Sending… image ${item.label} is not recorded yet.`);
}

// A shown badge counts verdicts that are added meanwhile.
export function countOnBadge() {
  const badge = find("#unsent");
  if (!badge.hidden) {
    find("[data-count]", badge).textContent = listUnsent().length;
  }
}

export function noteLate() {
  isToldLate = true;
}

export function forgetLate() {
  isToldLate = false;
}

export function saySentIfLate() {
  if (isToldLate) {
    say("Sent.");
  }
  isToldLate = false;
}
