// Send the decisions that a closed window has left unsent, on every page that has no deck of its own (js/deck.js).
// One window at a time sends what this person has kept; each decision carries its own name, so none is recorded twice.
const strip = document.querySelector("#outbox");
const user = strip?.dataset.user;
const prefix = `loupe.unsent.${user}.`;
const PATIENCE = 10_000; // ms until a server that says nothing counts as none
const QUIET = 1000; // ms in which nobody needs to be told
const REMEMBERED = 60_000; // ms for which other windows can see that a decision has been sent
let lock = null;

function listKept() {
  return Object.keys(localStorage)
    .filter((key) => key.startsWith(prefix))
    .sort(); // the names are in the order of time
}

function readKept(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null;
  }
}

function describeCount(count) {
  return `${count} unsent decision${count === 1 ? "" : "s"}`;
}

function show(text, { canSend = false } = {}) {
  strip.querySelector("[data-text]").textContent = text;
  strip.querySelector("[data-send]").hidden = !canSend;
  strip.hidden = !text && !strip.querySelector("[data-refused] li");
}

function listRefused(item, answer) {
  const panel = new DOMParser().parseFromString(answer, "text/html");
  const reason = panel.querySelector("[role=alert]")?.textContent.replace(/\s+/g, " ").trim();
  const link = document.createElement("a");
  link.href = `/reviews/${encodeURIComponent(item.review)}/`;
  link.textContent = `image ${item.label}`;
  const row = document.createElement("li");
  row.append("Not recorded: ", link, `. ${reason ?? "The server refused the decision."}`);
  strip.querySelector("[data-refused]").append(row);
}

async function post(item) {
  const body = new URLSearchParams(item.body);
  body.set("want", "0"); // nothing is claimed for a page that shows no image
  const answer = await fetch(item.url, {
    method: "POST",
    body,
    headers: { "X-CSRFToken": document.querySelector("[name=csrfmiddlewaretoken]").value },
    keepalive: true,
    signal: AbortSignal.timeout(PATIENCE),
  });
  const text = await answer.text();
  const isPage = answer.status === 403 && /^\s*<!doctype/i.test(text);
  if (answer.redirected || isPage) {
    throw new Error("lapsed");
  }
  if (answer.status >= 500) {
    throw new Error("fault");
  }
  return { isOk: answer.ok, text };
}

const REASONS = {
  lapsed: "Your session has ended: log in again.",
  fault: "The server has a fault.",
  TimeoutError: "The server does not answer.",
};

function explain(error) {
  return REASONS[error.message] ?? REASONS[error.name] ?? "No connection.";
}

// Locks are in order between windows, localStorage is not: Chromium passes a removal on with a delay, and a window that
// has just got its turn still read what was gone in a quarter of 150 tries. So a sent decision keeps its lock for a while.
function sendOnce(key, work) {
  if (!navigator.locks) {
    return work();
  }
  return new Promise((resolve, reject) => {
    const request = navigator.locks.request(`loupe.sent.${key}`, { ifAvailable: true }, async (lock) => {
      resolve(lock && (await work()));
      await new Promise((done) => setTimeout(done, lock ? REMEMBERED : 0));
    });
    // After a fault the lock has been given back by then: the decision has to be tried again.
    request.catch(reject);
  });
}

// Return how many were recorded. Throws what hinders the rest.
async function sendKept() {
  let sent = 0;
  for (const key of listKept()) {
    const item = readKept(key);
    const answer = item && (await sendOnce(key, () => post(item)));
    if (answer) {
      const { isOk, text } = answer;
      sent += isOk && !item.isSkip;
      if (!isOk && !item.isSkip) {
        listRefused(item, text);
      }
    }
    localStorage.removeItem(key);
  }
  return sent;
}

function takeTurn(work) {
  return navigator.locks ? navigator.locks.request(`loupe.sending.${user}`, work) : work();
}

async function send() {
  if (lock || !listKept().length) {
    return;
  }
  const slow = setTimeout(() => show(`${describeCount(listKept().length)}: sending…`), QUIET);
  try {
    lock = takeTurn(sendKept);
    const sent = await lock;
    show(sent ? `${sent} decision${sent === 1 ? "" : "s"} sent that had been kept in this browser.` : "");
  } catch (error) {
    show(`${describeCount(listKept().length)}. ${explain(error)} Kept in this browser.`, { canSend: true });
  } finally {
    clearTimeout(slow);
    lock = null;
  }
}

if (user && !document.querySelector("#deck")) {
  strip.querySelector("[data-send]").addEventListener("click", send);
  strip.querySelector("[data-close]").addEventListener("click", () => { strip.hidden = true; });
  addEventListener("online", send);
  send();
}
