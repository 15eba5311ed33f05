// htmx responses: handle whole pages, errors, lost connections and polled lists.
import { say } from "../core/announce.js";
import { isWholePage } from "../core/csrf.js";
import { showPending } from "../core/pending.js";

const OUTAGE_MAX = 200; // characters; a longer response is a page, not a message

const ends = new WeakMap(); // ends the pending mark of a request

const getWords = (part) => part.textContent.replace(/\s+/g, " ").trim();

// Reload when the response is a whole page: the session has ended, or the CSRF check has failed.
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (isWholePage(detail.serverResponse)) {
    detail.shouldSwap = false;
    location.reload();
  }
});

document.addEventListener("htmx:responseError", ({ detail: { xhr } }) => {
  const isOutage = xhr.status === 503 && xhr.responseText.length < OUTAGE_MAX;
  say(
    isOutage
      ? xhr.responseText
      : `The server could not do this (${xhr.status}). Nothing was changed.`,
  );
});

// Skip the swap of a polled list while it is hovered or focused, and if its text is unchanged.
document.addEventListener("htmx:oobBeforeSwap", ({ detail }) => {
  const { target, fragment } = detail;
  if (!target.matches("[data-waits]")) {
    return;
  }
  if (target.matches(":hover, :focus-within") || getWords(fragment) === getWords(target)) {
    detail.shouldSwap = false;
  }
});

document.addEventListener("htmx:sendError", ({ detail }) => {
  if (!detail.elt.matches("[data-quiet]")) {
    say("No connection: nothing was sent. Press again when it is back.");
  }
});

// Mark requests that a page sends by itself: they do not keep an idle session open.
document.addEventListener("htmx:configRequest", ({ detail: { elt, headers } }) => {
  if (elt.getAttribute("hx-trigger")?.startsWith("every")) {
    headers["X-Poll"] = "1";
  }
});

document.addEventListener("htmx:beforeSend", ({ detail: { elt, xhr } }) => {
  if (!elt.matches("[data-quiet]")) {
    ends.set(xhr, showPending());
  }
});

document.addEventListener("htmx:afterRequest", ({ detail: { xhr } }) => ends.get(xhr)?.());
