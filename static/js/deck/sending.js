// Sending: post the verdicts one after the other. Each contains its decision's UUID, so that the
// server records it once even if it is sent twice.
import { say } from "../core/announce.js";
import { sendOnce, takeTurn } from "../unsent/turns.js";
import { fill, takePanels } from "./filling.js";
import { showLookAlikes } from "./look_alikes.js";
import { listAhead } from "./panels_ahead.js";
import { post } from "./post.js";
import { bringRefusedBack } from "./refusal.js";
import { SIZE, deckElement, setSending, state } from "./state.js";
import { drop, getItemKey, isSentElsewhere, listUnsent } from "./unsent.js";
import { forgetLate, noteLate, noteSlow, saySentIfLate, updateBadge } from "./unsent_badge.js";
import { describeWaiting } from "./waiting.js";

const PATIENCE = [1, 2, 4, 8, 15]; // seconds between attempts while sending fails
const SLOW = 1000; // ms after which a verdict in progress is announced as not recorded yet
const PROBLEMS = {
  fault: "the server has a fault",
  lapsed: "your session has ended: log in again in another tab",
  silent: "the server does not answer",
};

// Post one verdict. Throws if the server has neither accepted nor refused it.
async function postItem(item) {
  const wanted = Math.max(0, SIZE - listAhead().length);
  const answer = await post(item.url, [...new URLSearchParams(item.body), ["want", wanted]]);
  if (answer.status >= 500) {
    throw new Error("fault");
  }
  return answer;
}

// Send one verdict. Returns the problem if sending cannot go on; undefined if it can.
async function sendItem(item) {
  const slow = setTimeout(noteSlow, SLOW, item);
  let answer;
  try {
    answer = isSentElsewhere(item) ? null : await sendOnce(getItemKey(item), () => postItem(item));
  } catch (error) {
    return PROBLEMS[error.message] ?? "";
  } finally {
    clearTimeout(slow);
  }
  if (answer) {
    state.failures = 0;
  }
  drop(item);
  updateBadge();
  if (answer?.ok) {
    takePanels(answer.text);
    showLookAlikes(item);
  } else if (answer) {
    forgetLate();
    bringRefusedBack(item, answer.text);
  }
  return undefined;
}

async function sendAll() {
  while (listUnsent().length) {
    const problem = await sendItem(listUnsent()[0]);
    if (problem !== undefined) {
      return problem;
    }
  }
  return undefined;
}

function retryLater(problem) {
  const seconds = PATIENCE[Math.min(state.failures, PATIENCE.length - 1)];
  state.failures++;
  updateBadge(problem);
  noteLate();
  if (state.failures === 1) {
    const count = listUnsent().length;
    const text = `${count} unsent. They are kept, and sent when the connection is back.`;
    say(state.isWaiting ? describeWaiting() : text);
  }
  setTimeout(send, 1000 * seconds);
}

export async function send() {
  if (state.isSending || !listUnsent().length) {
    return;
  }
  setSending(true);
  const slow = setTimeout(noteSlow, SLOW, listUnsent()[0]);
  const problem = await takeTurn(deckElement.dataset.user, () => {
    clearTimeout(slow);
    return sendAll();
  });
  setSending(false);
  if (problem !== undefined) {
    retryLater(problem);
    return;
  }
  saySentIfLate(); // unless a refusal was announced
  if (state.isWaiting) {
    fill();
  }
  // Verdicts may have been added while the sending lock was being released.
  send();
}
