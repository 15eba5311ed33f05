// Answers to htmx that are not what was asked for.
import { say } from "../core/announce.js";
import { isWholePage } from "../core/csrf.js";

const OUTAGE_MAX = 200; // characters of an outage's message; more is a page

const getWords = (part) => part.textContent.replace(/\s+/g, " ").trim();

// The session is over, or a guard refused. Show it as a page.
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

// A list that keeps up with the world waits while somebody is in it, and stays where nothing is
// new.
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
