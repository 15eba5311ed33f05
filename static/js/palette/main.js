// Command palette: Ctrl K or Cmd K opens a list of pages, queues, actions and ids on every page.
import { find } from "../core/dom.js";
import { dialog, findIds, listEntries, loadQueues, makeSearch } from "./entries.js";
import { chooseEntry, getChosen, moveChoice, showEntries } from "./list.js";

const SHOWN = 40;
const PAUSE = 150; // ms of no typing before the server is asked
const input = dialog && find("input", dialog);
let timer = 0;
let queuesLoaded = Promise.resolve();

function match(entries, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const has = ({ kind, label }) => {
    const all = `${kind} ${label}`.toLowerCase();
    return words.every((word) => all.includes(word));
  };
  const isFirst = ({ label }) => label.toLowerCase().startsWith(text.toLowerCase());
  return entries
    .filter(has)
    .sort((one, other) => isFirst(other) - isFirst(one))
    .slice(0, SHOWN);
}

function show(ids = []) {
  const text = input.value.trim();
  const search = text && dialog.dataset.search ? [makeSearch(dialog.dataset.search, text)] : [];
  showEntries(dialog, [...ids, ...match(listEntries(), text), ...search]);
}

async function lookUp(text) {
  const ids = await findIds(dialog.dataset.url, text);
  if (ids.length && input.value.trim() === text) {
    show(ids);
  }
}

function open() {
  input.value = "";
  dialog.showModal();
  show();
  queuesLoaded = loadQueues(dialog.dataset.url);
  queuesLoaded.then(() => dialog.open && !isChosenByHand() && show());
}

const isChosenByHand = () => dialog.dataset.moved === "";

// Close first: an action may open a dialog or move the focus itself.
function run(entry) {
  if (entry && dialog.open) {
    dialog.close();
    entry.run();
  }
}

// Wait for the server: a quick person presses Enter before it has answered.
async function runChosen() {
  await queuesLoaded;
  clearTimeout(timer);
  if (!isChosenByHand()) {
    await lookUp(input.value.trim());
  }
  run(getChosen());
}

function handleKey(event) {
  if (event.isComposing) {
    return;
  }
  if (["ArrowDown", "ArrowUp"].includes(event.key)) {
    event.preventDefault();
    dialog.dataset.moved = "";
    moveChoice(event.key === "ArrowDown" ? 1 : -1);
  } else if (event.key === "Enter") {
    event.preventDefault();
    runChosen();
  }
}

function isOpeningKey(event) {
  const hasOneModifier = event.ctrlKey !== event.metaKey && !event.altKey && !event.shiftKey;
  return hasOneModifier && event.key.toLowerCase() === "k";
}

if (dialog) {
  document.addEventListener("keydown", (event) => {
    if (!isOpeningKey(event)) {
      return;
    }
    event.preventDefault();
    if (dialog.open) {
      dialog.close();
    } else if (!find("dialog[open]")) {
      open();
    }
  });
  document.addEventListener("click", ({ target }) => target.closest("[data-palette]") && open());
  input.addEventListener("keydown", handleKey);
  input.addEventListener("input", () => {
    delete dialog.dataset.moved;
    show();
    clearTimeout(timer);
    timer = setTimeout(lookUp, PAUSE, input.value.trim());
  });
  // The focus stays in the input, so that typing continues.
  dialog.addEventListener(
    "pointerdown",
    (event) => event.target !== input && event.preventDefault(),
  );
  dialog.addEventListener("click", ({ target }) =>
    target === dialog ? dialog.close() : run(chooseEntry(target.closest("[role=option]"))),
  );
  dialog.addEventListener("close", () => {
    delete dialog.dataset.moved;
    clearTimeout(timer);
  });
}
