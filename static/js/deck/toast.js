// Toast: the last verdict at the edge of the image, with its undo. The live region announces the same
// text, so the toast is no live region. Tests read #toast[data-shown].
import { find } from "../core/dom.js";
import { showUndoTime } from "../desk/undo_clock.js";

const LASTS = 6000; // ms
const toast = find("#toast");
let timer = 0;

function hideLater() {
  clearTimeout(timer);
  timer = setTimeout(hideToast, LASTS);
}

export function hideToast() {
  if (toast?.matches(":hover, :focus-within")) {
    hideLater();
  } else {
    toast?.removeAttribute("data-shown");
  }
}

export function showToast(text, verdict = "") {
  if (!toast) {
    return;
  }
  find("[data-text]", toast).textContent = text;
  toast.dataset.verdict = verdict;
  find("[data-take-back]", toast).hidden = !verdict;
  toast.dataset.shown = "";
  showUndoTime();
  hideLater();
}

toast?.addEventListener("click", ({ target }) => {
  if (target.closest("[data-take-back]")) {
    toast.removeAttribute("data-shown");
    find("#action-bar [data-undo]")?.click();
  }
});
