// Keys: [data-hotkey] on real controls, which the key then presses. Nothing here knows what any of them does.
"use strict";

const find = (selector) => document.querySelector(selector);
const say = (text) => { find("#live").textContent = text; };
// Where the bar has no room for it, what was said is seen for a moment (layout.css); htmx says things too.
let fades = 0;
const fresh = () => {
  find("#live").toggleAttribute("data-fresh", find("#live").textContent.trim() !== "");
  clearTimeout(fades);
  fades = setTimeout(() => find("#live").removeAttribute("data-fresh"), 5000);
};
if (find("#live")) { new MutationObserver(fresh).observe(find("#live"), { childList: true }); fresh(); }
// What was not done, and why: said, and shown where the eyes are.
let warningEnds = 0;
const warn = (text) => {
  say(text);
  const place = find("[data-feedback]");
  if (!place) return;
  place.textContent = text;
  clearTimeout(warningEnds);
  warningEnds = setTimeout(() => { place.textContent = ""; }, 5000);
};
const isShown = (element) => element.checkVisibility() && !element.matches(":disabled");
const isTyping = (element) => element.matches("textarea, select, [contenteditable], input:not([type=checkbox], [type=radio])");
const isBusy = () => find("#panel.htmx-request, #panel .htmx-request:not(#claim)");
const chooser = () => find("#chooser[open]");

// The innermost open <details> has the first claim to a key.
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
  if (off || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || find("dialog[open]") || isTyping(event.target)) return;
  if (event.repeat || isBusy() || document.dispatchEvent(new CustomEvent("desk:key", { cancelable: true, detail: event })) === false) return event.preventDefault();
  // A digit keeps its name under Shift, whatever else the layout prints there; "?" and "+" are their own keys.
  const key = event.shiftKey && /^Digit/.test(event.code) ? event.code.slice(5) : ARROWS[event.key] ?? event.key.toLowerCase();
  const found = key.length === 1 && control(key);
  if (!found) {
    if (event.key.length === 1 && key.trim()) document.dispatchEvent(new CustomEvent("desk:unused-key", { detail: key }));
    return;
  }
  event.preventDefault();
  if (isTyping(found)) found.focus();
  else if (found.matches("[name=categories]")) pick(found, event.shiftKey);
  else found.click();
  // The group that a key has opened is where Tab and the arrows go on.
  if (found.matches("#chooser summary")) found.focus();
});

// While categories are open, their keys come before those of the page. What has lost its key says so.
function markLostKeys() {
  const open = chooser();
  const owners = new Map();
  for (const element of open ? open.querySelectorAll("[data-hotkey]") : []) {
    if (isShown(element)) owners.set(element.dataset.hotkey, element.dataset.label);
  }
  for (const element of document.querySelectorAll("[data-hotkey]")) {
    if (!element.closest("#chooser")) setLost(element, owners.get(element.dataset.hotkey));
  }
}
function setLost(element, owner) {
  if (Boolean(owner) === element.hasAttribute("data-key-lost")) return;
  const key = element.dataset.hotkey.toUpperCase();
  element.toggleAttribute("data-key-lost", Boolean(owner));
  if (owner) {
    element.removeAttribute("aria-keyshortcuts");
    element.dataset.titleBefore = element.title;
    element.title = `While the categories are open, ${key} chooses ${owner}. Esc closes them.`;
  } else {
    element.setAttribute("aria-keyshortcuts", key);
    element.title = element.dataset.titleBefore;
    if (!element.title) element.removeAttribute("title");
    delete element.dataset.titleBefore;
  }
}
document.addEventListener("toggle", ({ target }) => { if (target.closest?.("#chooser")) markLostKeys(); }, true);
document.addEventListener("htmx:load", markLostKeys);

// In the chooser a key is the whole rejection; with Shift it is one category of several.
function pick(box, isOneOfSeveral) {
  if (isOneOfSeveral) return box.click();
  if (!box.checked) box.click();
  find('[data-hotkey="r"][data-verdict]').click();
}

function leave(element) {
  find(".menu[open]")?.removeAttribute("open");
  if (isTyping(element)) return element.blur();
  if (chooser()) { chooser().open = false; find("#subject")?.focus({ preventScroll: true }); }
}
document.addEventListener("click", (event) => {
  if (!event.target.closest(".menu")) find(".menu[open]")?.removeAttribute("open");
  const opener = event.target.closest("[data-opens]");
  if (opener) { list(); find(`#${opener.dataset.opens}`).showModal(); }
});

// The list of keys, from the same declarations that make them work.
function list() {
  const rows = [...document.querySelectorAll("[data-hotkey]")].filter((e) => !e.closest("#chooser, [hidden]"));
  find("[data-keys]").replaceChildren(...rows.map((element) => {
    const row = document.createElement("li"), key = document.createElement("kbd");
    const words = element.cloneNode(true);
    words.querySelectorAll("kbd, [data-undo-left]").forEach((part) => part.remove());
    key.textContent = element.dataset.hotkey.toUpperCase();
    row.append(element.dataset.label ?? words.textContent.trim(), key);
    return row;
  }));
}

// --- When the answer is not what was asked for ---
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  // A whole page instead of a part: the session is over, or a guard refused. Show it as a page.
  if (/^\s*<!doctype/i.test(detail.serverResponse)) { detail.shouldSwap = false; location.reload(); }
});
document.addEventListener("htmx:responseError", ({ detail }) => {
  const isOutage = detail.xhr.status === 503 && detail.xhr.responseText.length < 200;
  say(isOutage ? detail.xhr.responseText : `The server could not do this (${detail.xhr.status}). Nothing was changed.`);
});
// A list that keeps up with the world waits while somebody is in it, and is left alone where nothing is new.
document.addEventListener("htmx:oobBeforeSwap", ({ detail }) => {
  const words = (part) => part.textContent.replace(/\s+/g, " ").trim();
  if (!detail.target.matches("[data-waits]")) return;
  if (detail.target.matches(":hover, :focus-within") || words(detail.fragment) === words(detail.target)) detail.shouldSwap = false;
});
document.addEventListener("htmx:sendError", ({ detail }) => { if (!detail.elt.matches("[data-quiet]")) say("No connection: nothing was sent. Press again when it is back."); });
