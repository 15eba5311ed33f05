// Send the verdicts, one after the other. A verdict carries its own name (the decision's UUID), so
// that the server records one that is sent twice once.
import { say } from "../core/announce.js";
import { sendOnce, takeTurn } from "../unsent/turns.js";
import { fill, takePanels } from "./filling.js";
import { listAhead } from "./panels_ahead.js";
import { post } from "./post.js";
import { bringRefusedBack } from "./refusal.js";
import { SIZE, deckElement, setSending, state } from "./state.js";
import { drop, getItemKey, isSentElsewhere, listUnsent } from "./unsent.js";
import { forgetLate, noteLate, noteSlow, saySentIfLate, updateBadge } from "./unsent_badge.js";
import { describeWaiting } from "./waiting.js";

const PATIENCE = [1, 2, 4, 8, 15]; // seconds between attempts while there is no connection
const SLOW = 1000; // ms from which somebody is told that a verdict is still on its way
const PROBLEMS = {
  fault: "the server has a fault",
  lapsed: "your session has ended: log in again in another tab",
  silent: "the server does not answer",
};

// Throws where the server has not taken it.
async function postItem(item) {
  const wanted = Math.max(0, SIZE - listAhead().length);
  const answer = await post(item.url, [...new URLSearchParams(item.body), ["want", wanted]]);
  if (answer.status >= 500) {
    throw new Error("fault");
  }
  return answer;
}

// Return the problem that hinders this one and the rest, if there is one.
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
  saySentIfLate(); // a refusal has its own words
  if (state.isWaiting) {
    fill();
  }
  // Verdicts may have come in while the turn was given back.
  send();
}
