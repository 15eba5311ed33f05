// Speed for the desk. Everything it does is declared in the page; without it every button, link and form still works.
"use strict";

const find = (selector) => document.querySelector(selector);
const say = (text) => { find("#live").textContent = text; };
const isShown = (element) => element.checkVisibility() && !element.matches(":disabled");
const isTyping = (element) => element.matches("textarea, select, [contenteditable], input:not([type=checkbox], [type=radio])");
const isBusy = () => find(".htmx-request:not(#claim)");
const SETTLES = 350; // ms after a panel has come in which no verdict is taken
const chooser = () => find("#chooser[open]");

// --- Keys: [data-hotkey] on real controls; the innermost open <details> has the first claim to a key ---
const depth = (element) => { let n = 0; for (let e = element; (e = e.parentElement?.closest("details[open]")); ) n++; return n; };
function control(key) {
  const named = [...document.querySelectorAll(`[data-hotkey="${CSS.escape(key)}"]`)].filter(isShown);
  if (key === "r" && chooser()?.querySelector(":checked")) return find('[data-hotkey="r"][data-verdict]');
  if (/\d/.test(key) && find(".l1[open]")) return named.find((element) => element.closest(".l1[open]"));
  return named.sort((a, b) => depth(b) - depth(a))[0];
}
const ARROWS = { ArrowRight: "j", ArrowLeft: "k" };
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") return leave(event.target);
  const off = document.documentElement.dataset.hotkeys === "off";
  if (off || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || find("dialog[open]") || isTyping(event.target)) return;
  if (event.key === " " && !event.target.closest("a, button, summary, input")) {
    event.preventDefault();
    if (!event.repeat) hold(true);
  }
  if (event.repeat || isBusy()) return;
  if (event.key === "Enter" && chooser() && !event.target.closest("a, button, summary")) {
    event.preventDefault();
    return find('[data-hotkey="r"][data-verdict]').click();
  }
  const key = ARROWS[event.key] ?? event.key.toLowerCase();
  const found = key.length === 1 && control(key);
  if (!found) return;
  event.preventDefault();
  if (isTyping(found)) found.focus();
  else found.click();
});
document.addEventListener("keyup", (event) => { if (event.key === " ") hold(false); });

function leave(element) {
  find(".menu[open]")?.removeAttribute("open");
  if (isTyping(element)) return element.blur();
  if (chooser()) { chooser().open = false; find("#subject").focus(); }
}

// --- Reject: the first press opens the categories, the second (or Enter) sends them ---
document.addEventListener("click", (event) => {
  const button = event.target.closest("button, a");
  if (!event.target.closest(".menu")) find(".menu[open]")?.removeAttribute("open");
  if (!button) return;
  // The second half of a double press was meant for the image before this one.
  if (button.matches("[data-verdict]") && performance.now() - shownAt < SETTLES) {
    event.preventDefault();
    event.stopPropagation();
    return say("Too quick: nothing was decided.");
  }
  if (button.matches('[data-verdict="reject"]') && find("#chooser:not([open])")) {
    event.preventDefault();
    find("#chooser").open = true;
    find("#chooser input").focus({ preventScroll: true });
  }
  if (button.matches("[data-veil]")) { event.preventDefault(); veil(find("#stage").toggleAttribute("data-veiled")); }
  if (button.matches("[data-actual]")) button.ariaPressed = String(find("#stage").toggleAttribute("data-actual"));
  if (button.matches("[data-surrounds]")) surround(button);
  if (button.dataset.opens) { list(); find(`#${button.dataset.opens}`).showModal(); }
}, true);
document.addEventListener("change", ({ target }) => {
  // A category may stand twice in the chooser: as a suggestion and in its place.
  if (target.name === "categories") for (const twin of document.querySelectorAll(`[value="${CSS.escape(target.value)}"][name=categories]`)) twin.checked = target.checked;
});

// --- Stage: real pixels are asked for once, by the first reveal; after that blurring is a matter of style ---
let held = false, byHold = false;
const veil = (on) => { find("#stage").toggleAttribute("data-veiled", on); find("[data-veil] span").textContent = on ? "Reveal" : "Blur"; };
function hold(down) {
  if (!find("#stage") || held === down) return;
  held = down;
  if (find("[data-veil]")) veil(!down);
  else if (down && !isBusy() && find("[data-reveal]")) { byHold = true; find("[data-reveal]").click(); }
}
function surround(button) {
  const values = button.dataset.surrounds.split(" ");
  find("#stage").dataset.surround = button.value;
  // Later: the form that is about to be sent still needs the value pressed.
  setTimeout(() => { button.value = values[(values.indexOf(button.value) + 1) % values.length]; });
}
document.addEventListener("error", ({ target }) => {
  if (target.matches?.(".stage .real")) { target.hidden = true; target.nextElementSibling.hidden = false; }
}, true);

// --- Clocks: time on screen, and how long the claim still holds ---
let shownAt = 0, claimEnds = 0, workedAt = 0, renewedAt = 0;
document.addEventListener("submit", ({ target }) => {
  // Where htmx has led since the page was loaded.
  const next = target.closest(".menu") && target.querySelector('input[name="next"]');
  if (next) next.value = location.pathname + location.search;
  const field = target.querySelector('[name="seconds"]');
  if (field) field.value = ((performance.now() - shownAt) / 1000).toFixed(1);
}, true);
for (const kind of ["keydown", "pointermove"]) document.addEventListener(kind, () => { workedAt = performance.now(); }, { passive: true });
function tick() {
  const clock = find("[data-seconds]"), now = performance.now();
  if (!clock) return;
  const left = Math.max(0, Math.round((claimEnds - now) / 1000));
  clock.textContent = left ? `for ${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}` : "no longer: the claim has lapsed";
  if (left && left < 60 && !clock.hasAttribute("data-low")) say("Your claim lapses in a minute unless you go on working.");
  clock.toggleAttribute("data-low", left < 60);
  if (left && workedAt > renewedAt && now - renewedAt > 60_000) { renewedAt = now; htmx.trigger(clock.closest("[data-renews]"), "renew"); }
}
setInterval(tick, 1000);

function arrive(root) {
  const clock = root.matches?.("#claim, #panel, body") && root.querySelector("[data-seconds]");
  if (clock) { claimEnds = performance.now() + 1000 * clock.dataset.seconds; renewedAt = performance.now(); tick(); }
  if (root.matches?.("#panel, body")) { shownAt = performance.now(); held = false; byHold = false; }
  // The space bar may have been let go before the picture came.
  if (root.id === "stage" && byHold) { veil(!held); byHold = false; }
}
document.addEventListener("htmx:load", ({ target }) => {
  arrive(target);
  // Whoever had focus on something that is gone goes on reading at the top of the new panel.
  if (target.id === "panel" && document.activeElement === document.body) find("#subject").focus({ preventScroll: true });
});

// --- When the answer is not what was asked for ---
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  // A whole page instead of a part: the session is over, or a guard refused. Show it as a page.
  if (/^\s*<!doctype/i.test(detail.serverResponse)) { detail.shouldSwap = false; location.reload(); }
});
document.addEventListener("htmx:responseError", ({ detail }) => say(`The server could not do this (${detail.xhr.status}). Nothing was changed.`));
document.addEventListener("htmx:sendError", () => say("No connection: nothing was sent. Press again when it is back."));

// --- The list of keys, from the same declarations that make them work ---
function list() {
  const rows = [...document.querySelectorAll("[data-hotkey]")].filter((e) => !e.closest("#chooser"));
  find("[data-keys]").replaceChildren(...rows.map((element) => {
    const row = document.createElement("li"), key = document.createElement("kbd");
    const words = element.cloneNode(true);
    words.querySelectorAll("kbd").forEach((kbd) => kbd.remove());
    key.textContent = element.dataset.hotkey.toUpperCase();
    row.append(element.dataset.label ?? words.textContent.trim(), key);
    return row;
  }));
}
