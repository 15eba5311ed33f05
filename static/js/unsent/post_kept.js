// Outbox requests: send one stored decision from a page that shows no image.
import { getCsrfToken, isWholePage } from "../core/csrf.js";

const ANSWER_LIMIT = 10_000; // ms after which a request counts as unanswered
const FAILURES = {
  lapsed: "Your session has ended: log in again.",
  fault: "The server has a fault.",
  TimeoutError: "The server does not answer.",
};

export const describeFailure = (error) =>
  FAILURES[error.message] ?? FAILURES[error.name] ?? "No connection.";

export async function postKept(item) {
  const body = new URLSearchParams(item.body);
  body.set("want", "0"); // claim no further image for this page
  const answer = await fetch(item.url, {
    method: "POST",
    body,
    headers: { "X-CSRFToken": getCsrfToken() },
    keepalive: true,
    signal: AbortSignal.timeout(ANSWER_LIMIT),
  });
  const text = await answer.text();
  if (answer.redirected || (answer.status === 403 && isWholePage(text))) {
    throw new Error("lapsed");
  }
  if (answer.status >= 500) {
    throw new Error("fault");
  }
  return { isOk: answer.ok, text };
}
