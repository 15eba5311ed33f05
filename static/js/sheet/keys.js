// Sheet keys: handled before the hotkeys of the page, because arrows move between tiles here.
import { areHotkeysOff, findOpenChooser } from "../core/controls.js";
import { find } from "../core/dom.js";
import { getCursorIndex, getCursorTile, goTo } from "./cursor.js";
import { isMove, move } from "./moves.js";
import { cancelPreview } from "./preview.js";
import { extendRange, selectAll, toggle } from "./selection.js";
import { openTile } from "./tile_links.js";
import { isFree } from "./tiles.js";

const CONTROLS = "a, button, input, select, textarea, summary, dialog";

const isOnTiles = (target) => target.closest("#tiles") || !target.closest(CONTROLS);

const areLettersOn = () => !areHotkeysOff() && !findOpenChooser();

function handleCommand({ key }) {
  if (key.toLowerCase() === "a") {
    selectAll(true);
    return true;
  }
  return false;
}

function handleSpace({ repeat, shiftKey }) {
  if (!repeat && shiftKey) {
    extendRange(getCursorIndex());
  } else if (!repeat) {
    toggle(getCursorTile());
  }
  return true;
}

function handleStar() {
  if (areLettersOn()) {
    selectAll(true);
  }
  return areLettersOn();
}

function handleEnter({ target }) {
  if (target.closest("#tiles")) {
    openTile(getCursorTile());
    return true;
  }
  return false;
}

function handleMove({ key, shiftKey }) {
  const isLetter = key.length === 1;
  const name = isLetter ? key.toLowerCase() : key;
  if (!isMove(name) || (isLetter && !areLettersOn())) {
    return false;
  }
  move(name, shiftKey);
  return true;
}

const HANDLERS = { " ": handleSpace, "*": handleStar, Enter: handleEnter };

// Return whether the key was handled.
function handleKey(event) {
  if (event.ctrlKey || event.metaKey) {
    return handleCommand(event);
  }
  return (HANDLERS[event.key] ?? handleMove)(event);
}

function handleEscape({ target }) {
  const cancel = find("[data-cancel]");
  const chooser = findOpenChooser();
  if (cancel) {
    cancel.click();
  } else if (cancelPreview()) {
    return true;
  } else if (chooser) {
    chooser.open = false;
    goTo(getCursorIndex());
  } else if (find("#tiles") && isOnTiles(target)) {
    selectAll(false);
  } else {
    return false;
  }
  return true;
}

function handle(event) {
  if (event.key === "Escape") {
    return handleEscape(event);
  }
  return find("#tiles") && isFree() && isOnTiles(event.target) && handleKey(event);
}

const isSendingCategories = ({ key, target }) =>
  key === "Enter" && findOpenChooser() && !target.closest("a, button, summary");

addEventListener(
  "keydown",
  (event) => {
    const isElsewhere = event.isComposing || event.altKey;
    if (isElsewhere || find("dialog[open]") || find(".menu[open]")) {
      return;
    }
    if (isSendingCategories(event)) {
      event.preventDefault();
      find("#act-form [data-verdict=reject][data-bulk]").click();
    } else if (handle(event)) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
  },
  true,
);
