// Hotkeys: a key presses the visible control that declares it in [data-hotkey].
import {
  areHotkeysOff,
  findOpenChooser,
  isChooserKey,
  isShown,
  isSwapping,
  isTyping,
} from "../core/controls.js";
import { find, findAll } from "../core/dom.js";
import { isTypedText, startTyping } from "./typing.js";

const ARROWS = { ArrowRight: "j", ArrowLeft: "k" };
const REJECT = "[data-hotkey][data-verdict=reject]";

function countOpenDetails(element) {
  let count = 0;
  let details = element.parentElement?.closest("details[open]");
  while (details) {
    count++;
    details = details.parentElement?.closest("details[open]");
  }
  return count;
}

// With the chooser open, letters and digits belong to it. Only the key of the rejection, which sends
// the chosen categories, keeps its meaning.
function listOwners(key) {
  const owners = findAll(`[data-hotkey="${CSS.escape(key)}"]`).filter(isShown);
  const isOwned = findOpenChooser() && isChooserKey(key);
  return isOwned
    ? owners.filter((element) => element.closest("#chooser") || element.matches(REJECT))
    : owners;
}

// Controls in the innermost open <details> take precedence.
function findControl(key) {
  const controls = listOwners(key);
  if (controls.some((element) => element.matches(REJECT)) && find("#chooser[open] :checked")) {
    return find(REJECT);
  }
  if (/\d/.test(key) && find(".l1[open]")) {
    return controls.find((element) => element.closest(".l1[open]"));
  }
  return controls.sort((one, other) => countOpenDetails(other) - countOpenDetails(one))[0];
}

// Digits keep their names under Shift, on any keyboard layout; "?" and "+" are named by their
// character.
function getKeyName(event) {
  if (event.shiftKey && /^Digit/.test(event.code)) {
    return event.code.slice(5);
  }
  return ARROWS[event.key] ?? event.key.toLowerCase();
}

function isForSomethingElse(event) {
  const hasModifier = event.ctrlKey || event.metaKey || event.altKey;
  const isTaken = event.defaultPrevented || event.isComposing || find("dialog[open]");
  return areHotkeysOff() || hasModifier || isTaken || isTyping(event.target);
}

// A category's key chooses it and sends the rejection; with Shift it only toggles the category.
function pickCategory(checkbox, isOneOfSeveral) {
  if (isOneOfSeveral || !checkbox.checked) {
    checkbox.click();
  }
  if (!isOneOfSeveral) {
    find(REJECT).click();
  }
}

function press(control, isShifted) {
  if (isTyping(control)) {
    control.focus();
  } else if (control.matches("[name=categories]")) {
    pickCategory(control, isShifted);
  } else {
    control.click();
  }
  // Focus the group that the key has toggled: Tab and the arrows continue there.
  if (control.matches("#chooser summary")) {
    control.focus();
  }
}

function offerToPage(event) {
  return document.dispatchEvent(new CustomEvent("desk:key", { cancelable: true, detail: event }));
}

function closeMenu(element) {
  const menu = find(".menu[open]");
  menu?.removeAttribute("open");
  if (menu?.contains(element)) {
    find("summary", menu).focus();
  }
}

function leave(element) {
  closeMenu(element);
  const chooser = findOpenChooser();
  if (isTyping(element) || element.matches(":has(+ .tip)")) {
    element.blur();
  } else if (chooser) {
    chooser.open = false;
    find("#subject")?.focus({ preventScroll: true });
  }
}

// Return whether the key is consumed before it reaches a control.
function isConsumed(event) {
  const isText = event.key.length === 1 || event.key === "Enter";
  return (isText && isTypedText(event)) || event.repeat || isSwapping() || !offerToPage(event);
}

function useKey(event) {
  const key = getKeyName(event);
  const control = key.length === 1 && findControl(key);
  if (control) {
    event.preventDefault();
    press(control, event.shiftKey);
  } else if (event.key.length === 1 && key.trim()) {
    document.dispatchEvent(new CustomEvent("desk:unused-key", { detail: key }));
    startTyping(event);
  }
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    leave(event.target);
    return;
  }
  if (isForSomethingElse(event)) {
    return;
  }
  if (isConsumed(event)) {
    event.preventDefault();
  } else {
    useKey(event);
  }
});
