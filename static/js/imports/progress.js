// Progress of an import: one row a file, a bar, and the sums.
import { find } from "../core/dom.js";

const WORDS = {
  waiting: ["queued", "Waits"],
  sending: ["submitting", "Sending"],
  stored: ["succeeded", "Stored"],
  known: ["done", "Already there"],
  refused: ["failed", "Refused"],
  failed: ["unknown", "Not sent"],
  skipped: ["skipped", "No image"],
  archive: ["done", "Read"],
};
const entries = [];

function makeElement(name, text, data = {}) {
  const element = document.createElement(name);
  element.textContent = text;
  Object.assign(element.dataset, data);
  return element;
}

export function addRow(panel, entry) {
  entry.row = document.createElement("li");
  entries.push(entry);
  find("[data-files]", panel).append(entry.row);
  setOutcome(entry, entry);
}

export function setOutcome(entry, { outcome, reason = "", inside = [] }) {
  const [status, word] = WORDS[outcome];
  entry.outcome = outcome;
  entry.inside = inside;
  const badge = makeElement("span", word, { status });
  badge.className = "badge";
  const refused = inside.filter((file) => file.outcome === "refused");
  const details = [reason, ...refused.map((file) => `${file.name}: ${file.reason}`)].join(" ");
  const name = makeElement("bdi", entry.path);
  entry.row.replaceChildren(name, badge, makeElement("span", details.trim()));
  entry.row.dataset.outcome = outcome;
}

export function countOutcomes() {
  const counts = { stored: 0, known: 0, refused: 0, failed: 0, skipped: 0, waiting: 0, sending: 0 };
  for (const entry of entries) {
    const isWhole = !entry.inside.length || entry.outcome === "failed";
    for (const { outcome } of isWhole ? [...entry.inside, entry] : entry.inside) {
      counts[outcome] = (counts[outcome] ?? 0) + 1;
    }
  }
  return { ...counts, entries };
}

export function showProgress(panel) {
  const counts = countOutcomes();
  const open = counts.waiting + counts.sending;
  const parts = [
    [counts.stored, "stored"],
    [counts.known, "already there"],
    [counts.refused, "refused"],
    [counts.failed, "not sent"],
    [counts.skipped, "skipped, no images"],
    [open, "to go"],
  ];
  const summary = parts.filter(([count]) => count).map((part) => part.join(" "));
  find("[data-summary]", panel).textContent = `${summary.join(", ")}.`;
  const bar = find("[data-done]", panel);
  bar.max = entries.length;
  bar.value = entries.filter(({ outcome }) => !["waiting", "sending"].includes(outcome)).length;
}
