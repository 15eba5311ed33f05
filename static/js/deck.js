// The deck: the next images are claimed, loaded and decoded while one is being judged, so the next is on screen in the
// frame after the key. The verdict goes out in the background; what comes back refills the deck.
//
// A verdict waits in localStorage until the server has taken it. It carries its own name (the decision's uuid), so that
// one sent twice is recorded once; one that is refused brings its image back with the reason.
"use strict";

const table = find("#deck");
const SIZE = 5, IDLE = 180_000, PATIENCE = [1, 2, 4, 8, 15]; // seconds between attempts while there is no connection
const SLOW = 1000;           // ms from which somebody is told that a verdict is still on its way
const ANSWER_LIMIT = 10_000; // ms after which a server that says nothing counts as none
const store = { prefix: `loupe.unsent.${table?.dataset.user}.` };
let ahead = [];       // panels whose turn comes, the next first
let unsent = [];      // what the server has not taken yet, oldest first: {name, url, body, label, panel}
let isSending = false, isFilling = false, isDry = false, isEnd = false, failures = 0, isIdle = false, isWaiting = false, isLate = false;

const token = () => find("[name=csrfmiddlewaretoken]").value;
const isHere = (name) => unsent.some((item) => item.review === name) || find("#panel")?.dataset.review === name || ahead.some((panel) => panel.dataset.review === name);
const inDeck = () => table && find("#foot[data-foot=deciding]");

// --- Panels ---
function panels(text) {
  const fragment = document.createRange().createContextualFragment(text);
  return [...fragment.querySelectorAll("[data-panel]")].map((panel) => {
    const clock = panel.querySelector("[data-seconds]");
    if (clock) panel.claimEnds = performance.now() + 1000 * clock.dataset.seconds;
    learn(clock?.querySelector("time").dateTime);
    panel.picture = panel.querySelector(".real")?.decode().catch(() => {});
    return panel;
  });
}
// First the picture alone, so that nothing else stands between the key and the next frame; then the rest of the panel.
const afterPaint = (work) => requestAnimationFrame(() => setTimeout(work));
let settling = null;
function put(panel) {
  settling?.();
  const before = find("#panel, #finished");
  if (before.id !== "panel") return settle(before, panel);
  const [fresh, stale] = [panel, before].map((whole) => [...whole.children].filter((part) => !part.matches(".inspector")));
  const was = { ...before.dataset }, shape = before.className;
  for (const part of stale) part.remove();
  before.prepend(...fresh);
  unzoom();
  before.className = panel.className;
  before.removeAttribute("data-waiting");
  Object.assign(before.dataset, panel.dataset);
  shownAt = performance.now();
  settling = () => {
    settling = null;
    panel.prepend(...fresh);
    // It may come back: by an undo, or because the server refuses its verdict.
    before.prepend(...stale);
    before.className = shape;
    Object.assign(before.dataset, was);
    settle(before, panel);
  };
  afterPaint(() => settling?.());
}
// Whoever is quicker than the frame acts on the whole panel, not on parts that htmx has not taken in yet.
for (const kind of ["keydown", "pointerdown", "click"]) document.addEventListener(kind, () => settling?.(), true);
function settle(before, panel) {
  for (const one of [before, panel]) for (const name of ["inert", "data-waiting"]) one.removeAttribute(name);
  before.replaceWith(panel);
  arrive(panel);
  find("#subject")?.focus({ preventScroll: true });
  history.replaceState(null, "", panel.dataset.address);
  document.title = `Image ${panel.dataset.name} · Loupe`;
  htmx.process(panel);
  window.scrollTo(0, 0);
  shownAt = performance.now(); // from here on: on a slow machine the lines above take as long as a second press
}
function next() {
  const panel = ahead.shift();
  if (panel) return put(panel);
  if (isEnd && !unsent.length) return finish();
  wait();
  if (isDry && !isEnd) fill(true);
}
function wait() {
  find("#panel")?.setAttribute("inert", "");
  find("#panel")?.setAttribute("data-waiting", "");
  isWaiting = true;
  tellWaiting();
  if (failures) say(waitingText());
}
function waitingText() {
  if (!failures) return "The next image is on its way.";
  return `No connection, and no image is left here. ${unsent.length} unsent: kept in this browser, and sent when the connection is back. The next image comes then.`;
}
function tellWaiting() {
  const place = find("#panel[data-waiting] [data-on-the-way]");
  if (place) place.textContent = waitingText();
}
function finish() {
  settling?.();
  if (find("#rail")) htmx.trigger("#rail", "renew");
  const end = find("#deck-finished").content.cloneNode(true);
  find("#panel, #finished").replaceWith(end);
  find("#finished h1").focus({ preventScroll: true });
  say("Nothing is left for you in this queue.");
}
function back(panel) {
  settling?.();
  const current = find("#panel:not([data-waiting])");
  settle(find("#panel, #finished"), panel);
  if (current && current.dataset.review !== panel.dataset.review) ahead.unshift(current);
  isWaiting = false;
}

// --- Filling ---
async function post(url, fields) {
  const limit = new AbortController(), timer = setTimeout(() => limit.abort(new Error("silent")), ANSWER_LIMIT);
  let answer, text;
  try {
    answer = await fetch(url, { method: "POST", body: new URLSearchParams(fields), headers: { "X-CSRFToken": token() }, signal: limit.signal });
    text = await answer.text();
  } finally { clearTimeout(timer); }
  // A whole page instead of panels: the log-in, or the guard against foreign forms.
  if (answer.redirected || (answer.status === 403 && /^\s*<!doctype/i.test(text))) throw new Error("lapsed");
  return { status: answer.status, ok: answer.ok, text };
}
// What is dealt ahead is held by nobody. Where that has come to an end (isDry) and somebody waits, what they hold in another
// window, or did in one that died, is asked for (isAll) before it is said that nothing is left (isEnd).
function take(text, isAll = false) {
  const fresh = panels(text).filter((panel) => !isHere(panel.dataset.review));
  for (const panel of fresh) panel.isTakenOver = isAll;
  ahead.push(...fresh);
  isDry = !fresh.length && ahead.length < SIZE;
  isEnd = isDry && (isAll || isEnd);
  if (isWaiting && (ahead.length || isDry)) { isWaiting = false; next(); }
  if (ahead.length && find("#finished")) next();
}
async function fill(isAll = false) {
  const want = SIZE - ahead.length - (unsent.length ? 1 : 0);
  if (want <= 0 || isFilling || isIdle || (isDry && !isWaiting)) return;
  isFilling = true;
  let answer = null;
  try {
    answer = await post(table.dataset.url, [["deck", 1], ["want", want], ...(isAll ? [["held", 1], ...mine()] : [])]);
  } catch { /* no connection: the next verdict or the next look tries again */ }
  isFilling = false;
  if (answer?.ok) take(answer.text, isAll);
}

// --- Sending ---
function keep(item) {
  unsent.push(item);
  afterPaint(() => write(item));
}
function write(item) {
  if (!unsent.includes(item)) return;
  try {
    localStorage.setItem(store.prefix + item.name, JSON.stringify({ ...item, panel: undefined, isWritten: true }));
    item.isWritten = true;
  } catch { /* full: it is in memory */ }
}
function drop(item) {
  unsent = unsent.filter((other) => other !== item);
  localStorage.removeItem(store.prefix + item.name);
  note();
}
function note(problem = "") {
  const badge = find("#unsent");
  badge.hidden = !unsent.length || (!failures && !problem);
  badge.removeAttribute("data-saving");
  badge.querySelector("[data-count]").textContent = unsent.length;
  badge.querySelector("[data-why]").textContent = `unsent, ${problem || "no connection"}`;
  tellWaiting();
}
// What is on its way for so long is not done yet, whatever was said when the key was pressed.
function noteSlow(item) {
  const badge = find("#unsent");
  if (failures || !unsent.includes(item)) return;
  badge.hidden = false;
  badge.setAttribute("data-saving", "");
  badge.querySelector("[data-count]").textContent = unsent.length;
  badge.querySelector("[data-why]").textContent = "saving…";
  isLate = true;
  say(`Saving… image ${item.label} is not recorded yet.`);
}
// One window at a time sends what this person has kept, so that nothing is sent twice. What another window has sent is
// gone from the storage by then.
const takeTurn = (work) => navigator.locks ? navigator.locks.request(`loupe.sending.${table.dataset.user}`, work) : work();
const isSentElsewhere = (item) => item.isWritten && !localStorage.getItem(store.prefix + item.name);
async function send() {
  if (isSending || !unsent.length) return;
  isSending = true;
  const slow = setTimeout(noteSlow, SLOW, unsent[0]);
  const problem = await takeTurn(() => {
    clearTimeout(slow);
    return sendAll();
  });
  isSending = false;
  if (problem !== undefined) return later(problem);
  // Whoever was told that something is unsent is told this, too; a refusal has its own words.
  if (isLate) say("Sent.");
  isLate = false;
  if (isWaiting) fill();
  if (unsent.length) send(); // came in while the turn was given back
}
// Return what hinders the rest, if anything does.
async function sendAll() {
  while (unsent.length) {
    const item = unsent[0];
    if (isSentElsewhere(item)) { drop(item); continue; }
    const slow = setTimeout(noteSlow, SLOW, item);
    let answer;
    try {
      answer = await post(item.url, [...new URLSearchParams(item.body), ["want", Math.max(0, SIZE - ahead.length)]]);
    } catch (error) {
      return { lapsed: "your session has ended: log in again in another tab", silent: "the server does not answer" }[error.message] ?? "";
    } finally { clearTimeout(slow); }
    if (answer.status >= 500) return "the server has a fault";
    failures = 0;
    drop(item);
    if (answer.ok) take(answer.text);
    else { isLate = false; refused(item, answer.text); }
  }
}
function later(problem) {
  const seconds = PATIENCE[Math.min(failures++, PATIENCE.length - 1)];
  note(problem);
  isLate = true;
  if (failures === 1) say(isWaiting ? waitingText() : `${unsent.length} unsent. They are kept, and sent when the connection is back.`);
  setTimeout(send, 1000 * seconds);
}
addEventListener("online", () => { failures = Math.min(failures, 1); send(); fill(); });
function refused(item, text) {
  undoEnds = item.undoBefore ?? 0;
  countOwn(item.verdict, -1);
  const panel = panels(text)[0] ?? item.panel;
  if (!panel) return say(`The verdict on ${item.label} was refused. Look for it in the queue.`);
  back(panel);
  mark(panel.dataset.review, "");
  say(panel.querySelector("[role=alert]")?.textContent.trim() ?? `The verdict on ${item.label} was refused.`);
}

// --- What people press ---
const PAST = { approve: "Approved", reject: "Rejected", escalate: "Escalated" };
document.addEventListener("submit", (event) => {
  const form = event.target, button = event.submitter;
  if (!inDeck() || form.id !== "foot" || !button) return;
  const action = button.getAttribute("formaction") ?? form.getAttribute("action");
  const isUndo = button.matches("[data-undo]"), isSkip = button.matches("[data-skip]");
  if (!isUndo && !isSkip && button.name !== "verdict") return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (isUndo) return undo(action);
  if (isWaiting) return warn(waitingText()); // the image on screen has been decided
  const panel = find("#panel"), fields = new FormData(form, button);
  if (button.value === "reject" && !isSkip && !fields.has("categories")) return warn("Choose what the image shows: a rejection names at least one category.");
  fields.delete("csrfmiddlewaretoken");
  fields.set("deck", "1");
  const name = uuid();
  if (!isSkip) fields.set("decision", name);
  keep({ name, url: action, body: new URLSearchParams(fields).toString(), label: panel.dataset.name, review: panel.dataset.review, panel, isSkip, undoBefore: undoEnds, verdict: isSkip ? "" : button.value });
  if (!isSkip) undoEnds = performance.now() + 1000 * table.dataset.undoWindow;
  const told = isSkip ? `Skipped image ${panel.dataset.name}.` : `${PAST[button.value]} image ${panel.dataset.name}.`;
  next();
  say(told);
  afterPaint(() => {
    if (!isSkip) {
      mark(panel.dataset.review, button.value);
      countOwn(button.value, 1);
    }
    send();
  });
}, true);
// "You, today" counts at once; the next look at the server says it again.
function countOwn(verdict, by) {
  const count = verdict && find(`#rail-${verdict} .num`);
  if (count && /^\d+$/.test(count.textContent)) count.textContent = Math.max(0, Number(count.textContent) + by);
}
// In the order of time: generation/core/uuid7.py says why.
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  let time = Date.now();
  for (let at = 5; at >= 0; at--, time = Math.floor(time / 256)) bytes[at] = time % 256;
  bytes[6] = bytes[6] & 15 | 112;
  bytes[8] = bytes[8] & 63 | 128;
  return [...bytes].map((byte, at) => ([4, 6, 8, 10].includes(at) ? "-" : "") + byte.toString(16).padStart(2, "0")).join("");
}
async function undo(url) {
  const last = unsent.at(-1);
  if (last && !last.isSkip && !(isSending && unsent.length === 1) && last.panel) {
    drop(last);
    back(last.panel);
    mark(last.review, "");
    countOwn(last.verdict, -1);
    return say(`Taken back: nothing had been sent about image ${last.label}.`);
  }
  while (isSending && !failures) await new Promise((done) => setTimeout(done, 20));
  try {
    const answer = await post(url, [["deck", 1], ["queue", table.dataset.queue], ["review", find("#panel").dataset.review]]);
    const [panel] = panels(answer.text);
    if (!panel) return say("There is nothing of yours left to undo.");
    back(panel);
    mark(panel.dataset.review, "");
    undoEnds = 0;
    if (find("#rail")) htmx.trigger("#rail", "renew");
    say(panel.querySelector("[role=alert]")?.textContent.trim() ?? `Taken back. Image ${panel.dataset.name} waits again, and you hold it.`);
  } catch { say("No connection: nothing was taken back."); }
}

// --- The strip of siblings in panels that were made before one of them was decided ---
const OUTCOME = { approve: ["approved", "Approved", "OK"], reject: ["rejected", "Rejected", "No"], escalate: ["escalated", "Escalated", "Esc"], "": ["pending", "Awaiting a decision", "Due"] };
function mark(review, verdict) {
  const [status, name, word] = OUTCOME[verdict] ?? OUTCOME[""];
  for (const panel of [...ahead, find("#panel")]) {
    const badge = panel?.querySelector(`.strip a[href^="/reviews/${review}/"] .badge`);
    // In a second opinion nothing is told about the others, not even by this.
    if (!badge || badge.dataset.status === "hidden" || panel.querySelector("[data-blind]")) continue;
    badge.dataset.status = status;
    [badge.firstElementChild.textContent, badge.lastElementChild.textContent] = [name, word];
  }
}

// --- Claims: renewed together while somebody works, given back when they stop or leave ---
// When they end as far as is known here. What ends later was renewed by another page, and is not given back by this one.
let until = "";
function learn(moment = "") { if (Date.parse(moment) >= (Date.parse(until) || 0)) until = moment; }
const onTable = () => [find("#panel"), ...ahead].filter(Boolean).map((panel) => ["have", panel.dataset.review]);
// Also what is decided here and not sent yet: it is held still.
const mine = () => [...onTable(), ...unsent.map((item) => ["have", item.review])];
async function renew() {
  const asked = onTable();
  let answer;
  try { answer = await post(table.dataset.renewal, asked); } catch { return; }
  if (!answer.ok) return;
  const { held, seconds, until: moment } = JSON.parse(answer.text);
  learn(moment);
  const ends = performance.now() + 1000 * seconds;
  ahead = ahead.filter((panel) => held.includes(panel.dataset.review) || !asked.some(([, name]) => name === panel.dataset.review));
  for (const panel of ahead) panel.claimEnds = ends;
  if (held.includes(find("#panel")?.dataset.review)) claimEnds = ends;
}
function release(all) {
  // What was taken over is another window's too; it lapses by itself.
  const names = ahead.filter((panel) => !panel.isTakenOver).map((panel) => ["have", panel.dataset.review]);
  const current = find("#panel")?.dataset.review;
  if (current) names.push([all ? "have" : "lingers", current]);
  if (names.length) navigator.sendBeacon(table.dataset.release, new URLSearchParams([["csrfmiddlewaretoken", token()], ["until", until], ...names]));
  ahead = [];
}
function watch() {
  if (!isIdle && performance.now() - workedAt > IDLE && inDeck()) {
    isIdle = true;
    release(false);
  } else if (isIdle && performance.now() - workedAt < 5000) {
    isIdle = isDry = false;
    renew();
    fill();
  }
}

if (table) {
  document.addEventListener("desk:renew", (event) => { event.preventDefault(); renew(); });
  // A window may close in the frame after the key.
  addEventListener("pagehide", () => { unsent.forEach(write); release(false); });
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  setInterval(watch, 1000);
  // When the queue has been worked through, look again for what has come since.
  setInterval(() => { if (isDry) { isDry = false; fill(); } }, 20_000);
  for (const key of Object.keys(localStorage).sort()) if (key.startsWith(store.prefix)) unsent.push(JSON.parse(localStorage.getItem(key)));
  learn(find("#claim time")?.dateTime);
  // What is on screen may have been decided in a window that closed before it was sent.
  if (inDeck() && unsent.some((item) => item.review === find("#panel").dataset.review)) wait();
  if (inDeck()) { renew(); fill(); }
  send();
}
