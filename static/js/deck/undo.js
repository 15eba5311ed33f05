// Undo: take back the last verdict, here if it is unsent, otherwise on the server.
import { say, sayShown } from "../core/announce.js";
import { find } from "../core/dom.js";
import { showPending } from "../core/pending.js";
import { setUndoEnds } from "../desk/undo_clock.js";
import { bringBack, renewCounts } from "./advance.js";
import { countOwn } from "./own_counts.js";
import { parsePanels } from "./parse_panels.js";
import { post } from "./post.js";
import { countDone } from "./progress.js";
import { markSibling } from "./siblings.js";
import { deckElement, state } from "./state.js";
import { showToast } from "./toast.js";
import { drop, listUnsent } from "./unsent.js";
import { updateBadge } from "./unsent_badge.js";

const LOOKS_AGAIN_AFTER = 20; // ms

function canDrop(item) {
  const isOnItsWay = state.isSending && listUnsent().length === 1;
  return item && !item.isSkip && item.panel && !isOnItsWay;
}

function undoUnsent(item) {
  drop(item);
  updateBadge();
  bringBack(item.panel);
  markSibling(item.review, "");
  countOwn(item.verdict, -1);
  countDone(-1);
  const text = `Undone: the verdict on image ${item.label} had not been sent.`;
  sayShown(text);
  showToast(text);
}

async function untilSent() {
  while (state.isSending && !state.failures) {
    await new Promise((done) => setTimeout(done, LOOKS_AGAIN_AFTER));
  }
}

async function undoOnServer(url) {
  const answer = await post(url, [
    ["deck", 1],
    ["queue", deckElement.dataset.queue],
    ["review", find("#panel").dataset.review],
  ]);
  const [panel] = parsePanels(answer.text);
  if (!panel) {
    say("You have nothing left to undo.");
    return;
  }
  bringBack(panel);
  markSibling(panel.dataset.review, "");
  setUndoEnds(0);
  renewCounts();
  countDone(-1);
  const reason = find("[role=alert]", panel)?.textContent.trim();
  const text = reason ?? `Reversed. Image ${panel.dataset.name} is open again, and you hold it.`;
  sayShown(text);
  showToast(text);
}

export async function undo(url) {
  const last = listUnsent().at(-1);
  if (canDrop(last)) {
    undoUnsent(last);
    return;
  }
  const stop = showPending();
  await untilSent();
  try {
    await undoOnServer(url);
  } catch {
    say("No connection: nothing was reversed.");
  } finally {
    stop();
  }
}
