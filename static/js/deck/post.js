// Deck requests: POST with a time limit.
import { getCsrfToken, isWholePage } from "../core/csrf.js";

const ANSWER_LIMIT = 10_000; // ms after which a request counts as unanswered

export async function post(url, fields) {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(new Error("silent")), ANSWER_LIMIT);
  let answer;
  let text;
  try {
    answer = await fetch(url, {
      method: "POST",
      body: new URLSearchParams(fields),
      headers: { "X-CSRFToken": getCsrfToken() },
      signal: limit.signal,
    });
    text = await answer.text();
  } finally {
    clearTimeout(timer);
  }
  if (answer.redirected || (answer.status === 403 && isWholePage(text))) {
    throw new Error("lapsed");
  }
  return { status: answer.status, ok: answer.ok, text };
}
