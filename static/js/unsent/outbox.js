// Outbox: send the decisions that a closed window has left unsent, on every page without a deck.
import { find } from "../core/dom.js";
import { describeFailure, postKept } from "./post_kept.js";
import { listRefused, outboxElement, showOutbox } from "./outbox_view.js";
import { listKeys, read, remove } from "./storage.js";
import { sendOnce, takeTurn } from "./turns.js";

const QUIET = 1000; // ms before the sending is shown
const user = outboxElement?.dataset.user;
let isSending = false;

const describeUnsent = (count) => `${count} unsent decision${count === 1 ? "" : "s"}`;

function describeSent(count) {
  return count
    ? `${count} decision${count === 1 ? "" : "s"} sent that had been kept in this browser.`
    : "";
}

// Return whether a decision was recorded. Throws if the remaining decisions cannot be sent either.
async function sendKept(key) {
  const item = read(key);
  const answer = item && (await sendOnce(key, () => postKept(item)));
  remove(key);
  if (!answer || item.isSkip) {
    return false;
  }
  if (!answer.isOk) {
    listRefused(item, answer.text);
  }
  return answer.isOk;
}

async function sendAllKept() {
  let sent = 0;
  for (const key of listKeys(user)) {
    sent += await sendKept(key);
  }
  return sent;
}

async function send() {
  if (isSending || !listKeys(user).length) {
    return;
  }
  isSending = true;
  const slow = setTimeout(
    () => showOutbox(`${describeUnsent(listKeys(user).length)}: sending…`),
    QUIET,
  );
  try {
    showOutbox(describeSent(await takeTurn(user, sendAllKept)));
  } catch (error) {
    const count = describeUnsent(listKeys(user).length);
    showOutbox(`${count}. ${describeFailure(error)} Kept in this browser.`, { canSend: true });
  } finally {
    clearTimeout(slow);
    isSending = false;
  }
}

if (user && !find("#deck")) {
  find("[data-send]", outboxElement).addEventListener("click", send);
  find("[data-close]", outboxElement).addEventListener("click", () => {
    outboxElement.hidden = true;
  });
  addEventListener("online", send);
  send();
}
