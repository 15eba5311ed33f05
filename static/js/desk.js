// The review screen: chooser, picture, clocks. Without it every button, link and form still works.
"use strict";

const SETTLES = 300; // ms after a panel has come in which no verdict is taken
let shownAt = 0, claimEnds = 0, workedAt = performance.now(), renewedAt = 0, undoEnds = 0;

// --- Reject: the first press opens the categories, the second (or Enter) sends them. Escalate asks for a reason first. ---
document.addEventListener("click", (event) => {
  const button = event.target.closest("button, a");
  if (!button) return;
  // The second half of a double press was meant for the image before this one.
  if (button.matches("[data-verdict]") && performance.now() - shownAt < SETTLES) {
    event.preventDefault();
    event.stopPropagation();
    return warn("Too quick: nothing was decided.");
  }
  if (button.ariaDisabled === "true") {
    event.preventDefault();
    event.stopPropagation();
    // What somebody types next was meant as a reason: it becomes a note, and no commands.
    find("#note")?.focus();
    return warn(button.dataset.why);
  }
  const needs = button.matches("[data-verdict=reject]") ? find("#chooser:not([open])") : button.matches("[data-verdict=escalate]") && !find("#note").value.trim() && find("#note");
  if (needs) { event.preventDefault(); needs.matches("#note") ? askWhy(needs) : choose(needs); }
  if (button.matches("[data-veil]")) { event.preventDefault(); veil(find("#stage").toggleAttribute("data-veiled")); }
  if (button.matches("[data-boxes]")) button.ariaPressed = String(find("#stage").toggleAttribute("data-boxed"));
  if (button.matches("[data-colour]")) button.ariaPressed = String(!find("#stage").toggleAttribute("data-grey"));
  if (button.matches("[data-actual]")) actual();
  if (button.matches("[data-zoom]")) zoom(+button.dataset.zoom);
  if (button.matches("[data-surrounds]")) surround(button);
}, true);
// On a phone the picture stands above the page's beginning.
document.addEventListener("toggle", ({ target }) => { if (target.id === "chooser" && target.open) scrollTo(0, 0); }, true);
function choose(details) {
  details.open = true;
  scrollTo(0, 0);
  details.querySelector(".choices input, .choices summary").focus({ preventScroll: true });
}
function askWhy(note) {
  note.placeholder = "Why should a senior look? Enter escalates";
  note.dataset.escalates = "";
  note.focus();
}
document.addEventListener("change", ({ target }) => {
  // A category may stand twice in the chooser: as a suggestion and in its place.
  if (target.name === "categories") for (const twin of document.querySelectorAll(`[value="${CSS.escape(target.value)}"][name=categories]`)) twin.checked = target.checked;
});
document.addEventListener("keydown", (event) => {
  const note = event.target;
  if (event.key !== "Enter" || !note.matches?.("#note[data-escalates]") || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (note.value.trim()) find("[data-verdict=escalate]").click();
  else warn("Write why first: the senior moderator reads it. Esc leaves the note.");
});
document.addEventListener("desk:unused-key", ({ detail: key }) => {
  if (find("#panel")) warn(`“${key.toUpperCase()}” does nothing on this image now. “?” lists the keys.`);
});
document.addEventListener("desk:key", (event) => {
  const key = event.detail;
  if (!find("#panel")) return;
  const isOnControl = key.target.closest("a, button, summary, input");
  if (key.key === "Enter" && chooser() && (chooser().querySelector(":checked") || !key.target.closest("a, button, summary"))) { event.preventDefault(); find('[data-hotkey="r"][data-verdict]').click(); }
  else if (key.key === " " && !isOnControl) { event.preventDefault(); hold(true); }
  else if (key.shiftKey && key.key.startsWith("Arrow")) { event.preventDefault(); pan(key.key); }
  else if (key.shiftKey && /^[A-Z]$/.test(key.key) && !chooser() && find("#chooser")) group(event, key.key.toLowerCase());
});
// Shift and a letter: straight to that group of categories.
function group(event, letter) {
  const start = find(`#chooser .tree [data-hotkey="${letter}"]`);
  if (!start) return;
  event.preventDefault();
  find("#chooser").open = true;
  start.click();
  start.focus({ preventScroll: true });
}

// --- Picture: real pixels are asked for once, by the first reveal; after that veiling is a matter of style ---
let held = false, byHold = false, veilTimer = 0;
function veil(on) {
  find("#stage").toggleAttribute("data-veiled", on);
  find("[data-veil] span").textContent = on ? "Reveal" : "Blur";
  veilLater();
}
function veilLater() {
  clearTimeout(veilTimer);
  const seconds = +(find("#stage[data-revealed]:not([data-veiled])")?.dataset.veilAgain ?? 0);
  if (seconds) veilTimer = setTimeout(() => { if (find("[data-veil]") && !held) veil(true); }, 1000 * seconds);
}
function hold(down) {
  if (!find("#stage") || held === down) return;
  held = down;
  if (find("[data-veil]")) veil(!down);
  else if (down && find("[data-reveal]")) { byHold = true; find("[data-reveal]").click(); }
}
document.addEventListener("keyup", (event) => { if (event.key === " ") hold(false); });
function surround(button) {
  const values = button.dataset.surrounds.split(" ");
  find("#stage").dataset.surround = button.value;
  // Later: the form that is about to be sent still needs the value pressed.
  setTimeout(() => { button.value = values[(values.indexOf(button.value) + 1) % values.length]; });
}
document.addEventListener("error", ({ target }) => {
  if (target.matches?.(".stage .real")) { target.hidden = true; target.nextElementSibling.hidden = false; }
}, true);

// --- Zoom and pan: three numbers for the canvas, in a stylesheet of their own ---
// Not in a style attribute: whoever copies or writes one (htmx does both) offends the content security policy.
const STEP = 1.5, ZOOM_MAX = 16;
const view = { zoom: 1, x: 0, y: 0, least: 1 };
const sheetOfView = new CSSStyleSheet();
sheetOfView.insertRule("[data-canvas] {}");
document.adoptedStyleSheets.push(sheetOfView);
function place(zoom, x, y) {
  Object.assign(view, { zoom, x, y });
  const { style } = sheetOfView.cssRules[0];
  style.setProperty("--zoom", zoom);
  style.setProperty("--x", `${x}px`);
  style.setProperty("--y", `${y}px`);
}
function look(zoom, x = view.x, y = view.y) {
  const canvas = find("[data-canvas]");
  if (!canvas) return;
  const actually = actualZoom();
  zoom = Math.min(ZOOM_MAX, Math.max(Math.min(view.least, actually), zoom));
  const room = [canvas.clientWidth, canvas.clientHeight].map((size) => Math.max(0, size * (zoom - 1) / 2));
  place(zoom, ...[x, y].map((value, axis) => Math.min(room[axis], Math.max(-room[axis], value))));
  find("#stage").toggleAttribute("data-zoomed", zoom > 1);
  find("#stage").toggleAttribute("data-close", zoom >= 4);
  const percent = `${Math.round(100 * zoom / actually)}%`;
  tell(zoom === 1 ? "fit" : percent, isSame(zoom, actually));
  // What was said of the size before is not true any more.
  if (zoomSaid && find("#live").textContent === zoomSaid) sayZoom(zoom === 1 ? "The whole image." : `Shown at ${percent}.`);
}
let zoomSaid = "";
function sayZoom(text) {
  zoomSaid = text;
  say(text);
}
function tell(text, isActual) {
  const shown = find("[data-zoom-shown]");
  if (!shown) return;
  shown.textContent = text;
  find("[data-actual]").ariaPressed = String(isActual);
}
// A new image begins whole; and one that comes back does.
function unzoom() {
  view.least = 1;
  place(1, 0, 0);
  for (const name of ["data-zoomed", "data-close"]) find("#stage")?.removeAttribute(name);
  tell("fit", false);
}
function zoom(step) {
  unshrink();
  if (!step) return look(1, 0, 0);
  const by = step > 0 ? STEP : 1 / STEP;
  look(view.zoom * by, view.x * by, view.y * by);
}
// The picture that is small at first becomes a zoom below the whole one, so that the next step is as large as any other.
function unshrink() {
  const small = find("#stage[data-small]") && fit();
  if (!small) return;
  find("#stage").removeAttribute("data-small");
  view.zoom = view.least = small / fit();
}
// How many pixels of the page one of the image takes while it is shown whole.
function fit() {
  const canvas = find("[data-canvas]"), image = find(".stage .real");
  return canvas && image && Math.min(canvas.clientWidth / image.getAttribute("width"), canvas.clientHeight / image.getAttribute("height"));
}
// One pixel of the image on one pixel of the screen.
const actualZoom = () => 1 / ((fit() || 1) * devicePixelRatio);
const isSame = (one, other) => Math.abs(one - other) < .01;
function actual() {
  unshrink();
  const target = actualZoom(), isThere = isSame(view.zoom, target);
  if (isThere && isSame(target, 1)) return sayZoom("Shown at its actual size already.");
  look(isThere ? 1 : target, 0, 0);
  sayZoom(isThere ? "The whole image." : `Actual size${target < 1 ? ", which is smaller than the room for it" : ""}.`);
}
function pan(key) {
  const canvas = find("[data-canvas]"), step = .2 * Math.min(canvas.clientWidth, canvas.clientHeight);
  const [x, y] = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[key];
  look(view.zoom, view.x + x * step, view.y + y * step);
}
document.addEventListener("wheel", (event) => {
  if (!event.target.closest?.(".stage[data-revealed] .picture") || (event.deltaY > 0 && view.zoom <= 1)) return;
  event.preventDefault();
  unshrink();
  const box = find("[data-canvas]").parentElement.getBoundingClientRect(), by = event.deltaY < 0 ? 1.2 : 1 / 1.2;
  const [x, y] = [event.clientX - box.x - box.width / 2, event.clientY - box.y - box.height / 2];
  look(view.zoom * by, x - (x - view.x) * by, y - (y - view.y) * by);
}, { passive: false });
document.addEventListener("dblclick", (event) => { if (event.target.closest(".stage[data-revealed] .picture")) actual(); });

// --- A pointer on the picture: pans it when zoomed; a swipe of a finger is a verdict ---
const SWIPE = 90;
let grip = null;
document.addEventListener("pointerdown", (event) => {
  if (event.button || !event.target.closest(".stage .picture")) return;
  grip = { x: event.clientX, y: event.clientY, from: { ...view }, isFinger: event.pointerType === "touch" };
});
document.addEventListener("pointermove", (event) => {
  workedAt = performance.now();
  if (!grip) return;
  const [x, y] = [event.clientX - grip.x, event.clientY - grip.y];
  if (view.zoom > 1) look(view.zoom, grip.from.x + x, grip.from.y + y);
  else if (grip.isFinger) find("#stage").dataset.swipe = Math.abs(x) < SWIPE || Math.abs(x) < 2 * Math.abs(y) ? "" : x > 0 ? "approve" : "reject";
}, { passive: true });
for (const kind of ["pointerup", "pointercancel"]) document.addEventListener(kind, (event) => {
  const swipe = grip?.isFinger && event.type === "pointerup" && find("#stage")?.dataset.swipe;
  grip = null;
  find("#stage")?.removeAttribute("data-swipe");
  // The categories are open already: a second swipe would send a rejection that names none.
  if (swipe === "reject" && chooser() && !chooser().querySelector(":checked")) return;
  if (swipe) find(`#panel [data-verdict="${swipe}"]`)?.click();
});

// --- Clocks: time on screen, how long the claim still holds, how long one can undo ---
document.addEventListener("submit", ({ target }) => {
  // Where the desk has led since the page was loaded.
  const next = target.closest(".menu") && target.querySelector('input[name="next"]');
  if (next) next.value = location.pathname + location.search;
  const field = target.querySelector('[name="seconds"]');
  if (field) field.value = ((performance.now() - shownAt) / 1000).toFixed(1);
}, true);
document.addEventListener("keydown", () => { workedAt = performance.now(); }, { passive: true });
const clockText = (seconds) => `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
function tick() {
  const clock = find("[data-seconds]"), now = performance.now();
  const undo = Math.max(0, Math.round((undoEnds - now) / 1000));
  for (const label of document.querySelectorAll("[data-undo-left]")) label.textContent = undo ? clockText(undo) : "";
  if (!clock) return;
  const left = Math.max(0, Math.round((claimEnds - now) / 1000));
  clock.textContent = left ? `for ${clockText(left)}` : "until somebody else takes it";
  // Not at once: who loads a page again comes back to a claim that is about to be renewed.
  const isLow = left < 60 && now - shownAt > 3000;
  if (left && isLow && !clock.hasAttribute("data-low")) say("Your claim lapses in a minute unless you go on working.");
  clock.toggleAttribute("data-low", isLow);
  if (!left || workedAt <= renewedAt || now - renewedAt < 60_000) return;
  renewedAt = now;
  if (document.dispatchEvent(new CustomEvent("desk:renew", { cancelable: true }))) htmx.trigger(clock.closest("[data-renews]"), "renew");
}
setInterval(tick, 1000);

// A note that has been begun is there again after a look at a sibling.
const drafts = new Map();
document.addEventListener("input", ({ target }) => {
  if (target.id === "note") drafts.set(find("#panel")?.dataset.review, target.value);
});
document.addEventListener("submit", ({ target }) => { if (target.id === "foot") drafts.delete(find("#panel")?.dataset.review); });

function arrive(root) {
  const clock = root.matches?.("#claim, #panel, body") && root.querySelector("[data-seconds]");
  if (clock) { claimEnds = root.claimEnds ?? performance.now() + 1000 * clock.dataset.seconds; renewedAt = performance.now(); }
  if (root.matches?.("#panel, body")) {
    shownAt = performance.now();
    held = byHold = false;
    unzoom();
    const draft = drafts.get(find("#panel")?.dataset.review), note = find("#note");
    if (draft && note && !note.value) note.value = draft;
    const left = root.querySelector("[data-undo]")?.dataset.undo;
    if (left) undoEnds = performance.now() + 1000 * left;
    tick();
  }
  // The space bar may have been let go before the picture came.
  if (root.id === "stage" && byHold) { veil(!held); byHold = false; }
  if (root.matches?.("#panel, #stage, body")) veilLater();
}
document.addEventListener("htmx:load", ({ target }) => {
  arrive(target);
  // Whoever had focus on something that is gone goes on reading at the top of the panel.
  if (target.matches("#panel, #break[data-dismissed]") && document.activeElement === document.body) find("#subject")?.focus({ preventScroll: true });
});
