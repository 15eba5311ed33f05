// Imports: send the chosen files one by one, and show the outcome of each.
import { find } from "../core/dom.js";
import { collectDropped, collectInput } from "./collect.js";
import { createSet, sendFile } from "./send.js";
import { addRow, countOutcomes, setOutcome, showProgress } from "./progress.js";

const AT_ONCE = 2; // requests; the server decodes each image in a process of its own
const form = find("#import");
const panel = find("#import-progress");
let setUrl = form?.dataset.set ?? "";
let waiting = [];
let isSending = false;

// The set is created with its first file, so that an empty choice leaves none behind.
async function findSet() {
  setUrl ||= await createSet(form);
  return setUrl;
}

async function work(url) {
  for (let entry = waiting.shift(); entry; entry = waiting.shift()) {
    setOutcome(entry, { outcome: "sending" });
    const answer = await sendFile(url, entry);
    setOutcome(entry, answer);
    showProgress(panel);
  }
}

async function sendAll() {
  if (isSending) {
    return;
  }
  isSending = true;
  panel.dataset.state = "sending";
  try {
    const url = await findSet();
    await Promise.all(Array.from({ length: AT_ONCE }, () => work(url)));
    find("[data-result]", panel).href = url;
  } catch (error) {
    waiting
      .splice(0)
      .forEach((entry) => setOutcome(entry, { outcome: "failed", reason: error.message }));
  }
  isSending = false;
  panel.dataset.state = "done";
  showProgress(panel);
  find("[data-retry]", panel).hidden = !countOutcomes().failed;
  find("[data-result]", panel).hidden = !setUrl;
}

function take(entries) {
  if (!entries.length) {
    return;
  }
  panel.hidden = false;
  find("[data-retry]", panel).hidden = true;
  entries.forEach((entry) => addRow(panel, entry));
  waiting.push(...entries.filter(({ outcome }) => outcome === "waiting"));
  showProgress(panel);
  if (waiting.length) {
    sendAll();
  }
}

function retry() {
  waiting = countOutcomes().entries.filter((entry) => entry.outcome === "failed");
  waiting.forEach((entry) => setOutcome(entry, { outcome: "waiting" }));
  sendAll();
}

function listenToDrops(place) {
  place.addEventListener("dragover", (event) => {
    event.preventDefault();
    place.dataset.over = "";
  });
  place.addEventListener("dragleave", () => delete place.dataset.over);
  place.addEventListener("drop", async (event) => {
    event.preventDefault();
    delete place.dataset.over;
    take(await collectDropped(event.dataTransfer, form.dataset.suffixes));
  });
}

if (form) {
  listenToDrops(find("[data-drop]", form));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    take(collectInput(form, form.dataset.suffixes));
  });
  find("[data-retry]", panel).addEventListener("click", retry);
  addEventListener("beforeunload", (event) => isSending && event.preventDefault());
}
