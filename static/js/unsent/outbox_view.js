// Outbox view: show unsent and refused decisions in the line below the bar.
import { find } from "../core/dom.js";

export const outboxElement = find("#outbox");

export function showOutbox(text, { canSend = false } = {}) {
  find("[data-text]", outboxElement).textContent = text;
  find("[data-send]", outboxElement).hidden = !canSend;
  outboxElement.hidden = !text && !find("[data-refused] li", outboxElement);
}

export function listRefused(item, answer) {
  const panel = new DOMParser().parseFromString(answer, "text/html");
  const reason = find("[role=alert]", panel)?.textContent.replace(/\s+/g, " ").trim();
  const link = document.createElement("a");
  link.href = `/reviews/${encodeURIComponent(item.review)}/`;
  link.textContent = `image ${item.label}`;
  const row = document.createElement("li");
  row.append("Not recorded: ", link, `. ${reason ?? "The server refused the decision."}`);
  find("[data-refused]", outboxElement).append(row);
}
