// Refused verdicts: show the image again with the server's reason.
import { say } from "../core/announce.js";
import { find } from "../core/dom.js";
import { setUndoEnds } from "../desk/undo_clock.js";
import { bringBack } from "./advance.js";
import { countOwn } from "./own_counts.js";
import { parsePanels } from "./parse_panels.js";
import { countDone } from "./progress.js";
import { markSibling } from "./siblings.js";
import { hideToast } from "./toast.js";

export function bringRefusedBack(item, html) {
  setUndoEnds(item.undoEnds ?? 0);
  countOwn(item.verdict, -1);
  countDone(item.verdict ? -1 : 0);
  hideToast();
  const panel = parsePanels(html)[0] ?? item.panel;
  if (!panel) {
    say(`The verdict on ${item.label} was refused. Look for it in the queue.`);
    return;
  }
  bringBack(panel);
  markSibling(panel.dataset.review, "");
  const reason = find("[role=alert]", panel)?.textContent.trim();
  say(reason ?? `The verdict on ${item.label} was refused.`);
}
