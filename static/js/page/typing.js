// Typed text: a key without effect, quickly followed by others, is text that was meant for a field.
// The keys after it do nothing until the person pauses. A moderator presses only keys that have an
// effect, as fast as they like. Tests read body[data-typing].
import { warn } from "../core/announce.js";
import { isTyping } from "../core/controls.js";
import { find } from "../core/dom.js";

const PAUSE = 500; // ms; 40 words a minute are 300 ms a key
const PLACES = "#panel, #finished, #tiles"; // pages on which single keys decide
let lastKeyAt = -Infinity;
let timer = 0;

function noteKey(at) {
  lastKeyAt = at;
  clearTimeout(timer);
  timer = setTimeout(() => delete document.body.dataset.typing, PAUSE);
}

export function startTyping(event) {
  if (find(PLACES)) {
    document.body.dataset.typing = "";
    noteKey(event.timeStamp);
  }
}

// Return whether the key belongs to typed text, and has to be ignored.
export function isTypedText(event) {
  if (!("typing" in document.body.dataset) || event.timeStamp - lastKeyAt > PAUSE) {
    return false;
  }
  const key = find("#note[data-hotkey]")?.dataset.hotkey.toUpperCase();
  const note = key ? ` ${key} opens the note.` : "";
  warn(`Typed text does nothing here: keys work again when you pause.${note}`);
  noteKey(event.timeStamp);
  return true;
}

document.addEventListener("paste", ({ target }) => {
  if (find(PLACES) && !isTyping(target)) {
    warn("Pasted text does nothing here. Open the note or the search first.");
  }
});
