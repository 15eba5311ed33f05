// The badge in the bar that tells what the server has not taken yet.
import { say } from "../core/announce.js";
import { find } from "../core/dom.js";
import { state } from "./state.js";
import { listUnsent } from "./unsent.js";
import { showWaiting } from "./waiting.js";

// Somebody was told that a verdict is unsent: they are told, too, when it has been sent.
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

// What is on its way for so long is not done yet, whatever was said when the key was pressed.
export function noteSlow(item) {
  if (state.failures || !listUnsent().includes(item)) {
    return;
  }
  const badge = find("#unsent");
  badge.hidden = false;
  showBadge(badge, "saving…", true);
  isToldLate = true;
  say(`Saving… image ${item.label} is not recorded yet.`);
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
