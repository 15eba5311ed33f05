// Verdicts and skips: show the next image at once, and send in the background.
import { sayShown, warn } from "../core/announce.js";
import { find } from "../core/dom.js";
import { afterPaint } from "../core/time.js";
import { makeUuid7 } from "../core/uuid7.js";
import { getUndoEnds, startUndo } from "../desk/undo_clock.js";
import { goOn } from "./filling.js";
import { countOwn } from "./own_counts.js";
import { countDone } from "./progress.js";
import { send } from "./sending.js";
import { markSibling } from "./siblings.js";
import { deckElement, isDeciding, state } from "./state.js";
import { showToast } from "./toast.js";
import { undo } from "./undo.js";
import { keep } from "./unsent.js";
import { countOnBadge } from "./unsent_badge.js";
import { describeWaiting } from "./waiting.js";

const PAST_TENSES = {
  approve: "Approved",
  blur: "Approved blurred",
  reject: "Rejected",
  escalate: "Escalated",
};

function makeItem(panel, fields, { url, verdict }) {
  const name = makeUuid7();
  fields.delete("csrfmiddlewaretoken");
  fields.set("deck", "1");
  if (verdict) {
    fields.set("decision", name);
  }
  return {
    name,
    url,
    body: new URLSearchParams(fields).toString(),
    label: panel.dataset.name,
    review: panel.dataset.review,
    panel,
    isSkip: !verdict,
    undoEnds: getUndoEnds(),
    verdict,
  };
}

function decide(fields, given) {
  const { verdict } = given;
  const item = makeItem(find("#panel"), fields, given);
  keep(item);
  if (verdict) {
    startUndo(deckElement.dataset.undoWindow);
  }
  goOn();
  const text = `${verdict ? PAST_TENSES[verdict] : "Skipped"} image ${item.label}.`;
  sayShown(text);
  afterPaint(() => {
    showToast(text, verdict);
    countOnBadge();
    countDone(verdict ? 1 : 0);
    if (verdict) {
      markSibling(item.review, verdict);
      countOwn(verdict, 1);
    }
    send();
  });
}

function act(form, button) {
  const url = button.getAttribute("formaction") ?? form.getAttribute("action");
  if (button.matches("[data-undo]")) {
    undo(url);
    return;
  }
  if (state.isWaiting) {
    warn(describeWaiting()); // the image on screen has been decided
    return;
  }
  const fields = new FormData(form, button);
  const verdict = button.matches("[data-skip]") ? "" : button.value;
  if (verdict === "reject" && !fields.has("categories")) {
    warn("Choose what the image shows: a rejection names at least one category.");
    return;
  }
  decide(fields, { url, verdict });
}

document.addEventListener(
  "submit",
  (event) => {
    const { target: form, submitter: button } = event;
    const isOurs = button?.matches("[data-undo], [data-skip], [name=verdict]");
    if (isOurs && form.id === "action-bar" && isDeciding()) {
      event.preventDefault();
      event.stopImmediatePropagation();
      act(form, button);
    }
  },
  true,
);
