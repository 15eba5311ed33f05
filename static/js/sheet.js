// Keyboard, mouse and touch for the contact sheet. Without it, every tile is a checkbox and every action a button.
"use strict";

(() => {
  const find = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const say = (text) => { find("#live").textContent = text; };
  const HOLD = 350; // ms from which a press is a look, not a tap
  const PLACE_LASTS = 300_000; // ms, as a claim does
  const NAMED = 5; // of those lost; a sentence with fifty images in it helps nobody

  // Kept over swaps: what is selected and revealed (by review), and where the cursor is.
  const selected = new Set(), revealed = new Set();
  let current = "", place = 0, anchor = 0, before = null, veilOthers = false, scrolled = null;

  const tiles = () => all("#tiles .tile");
  const box = (tile) => find("input[type=checkbox]", tile);
  const members = (tile) => tile.dataset.members.trim().split(" ");
  const isGone = (tile) => "gone" in tile.dataset;
  const at = () => Math.max(0, tiles().findIndex((tile) => members(tile).includes(current)));
  const here = () => tiles()[at()];
  const isFree = () => !find("#tiles")?.inert;

  // --- Selection ---
  function select(tile, on) {
    if (isGone(tile)) on = false;
    box(tile).checked = on;
    tile.ariaSelected = String(on);
    for (const uuid of members(tile)) on ? selected.add(uuid) : selected.delete(uuid);
  }
  function count() {
    const text = find("[data-selected]");
    if (!text) return;
    const chosen = tiles().filter((tile) => box(tile).checked), images = chosen.flatMap(members).length;
    const where = images === chosen.length ? "" : ` in ${chosen.length} tile${chosen.length === 1 ? "" : "s"}`;
    text.textContent = images ? `${images} image${images === 1 ? "" : "s"}${where} selected` : "Nothing is selected";
  }
  function toggle(tile) {
    if (isGone(tile)) return say("This image is no longer yours.");
    select(tile, !box(tile).checked);
    anchor = tiles().indexOf(tile);
    before = null;
    count();
  }
  // What was selected before stays; the range from the anchor grows and shrinks.
  function extend(to) {
    const list = tiles();
    before ??= new Set(list.filter((tile) => box(tile).checked).map((tile) => box(tile).value));
    const [low, high] = [Math.min(anchor, to), Math.max(anchor, to)];
    list.forEach((tile, index) => select(tile, before.has(box(tile).value) || (index >= low && index <= high)));
    count();
  }
  function selectAll(on) {
    tiles().forEach((tile) => select(tile, on));
    before = null;
    count();
  }

  // --- The cursor: one tile can be reached by Tab, arrows move on from it ---
  function goTo(index, { focus = true } = {}) {
    const list = tiles();
    if (!list.length) return;
    place = Math.min(Math.max(0, index), list.length - 1);
    list.forEach((tile, number) => { tile.tabIndex = number === place ? 0 : -1; });
    current = members(list[place])[0];
    if (focus) {
      list[place].focus({ preventScroll: true });
      list[place].scrollIntoView({ block: "nearest" });
    }
    describe(list[place]);
  }
  function describe(tile) {
    find("#about")?.replaceChildren(find("template", tile).content.cloneNode(true));
    const apart = find("button[data-apart]"), peek = find("[data-peek]");
    if (apart) apart.hidden = !tile.dataset.toggle;
    if (peek) peek.firstChild.data = isClear(tile) ? "Blur " : "Reveal ";
  }
  const columns = () => {
    const list = tiles(), top = list[0].offsetTop;
    const found = list.findIndex((tile) => tile.offsetTop > top);
    return found < 0 ? list.length : found;
  };
  const STEPS = {
    ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: () => -columns(), ArrowDown: () => columns(),
    h: () => -1, l: () => 1, k: () => -columns(), j: () => columns(),
    Home: () => -Infinity, End: () => Infinity,
  };
  function move(key, isRange) {
    const list = tiles(), step = STEPS[key](), from = at(), to = from + step;
    // A line further down there may be none below this one: then the cursor stays, as in any grid.
    if (Number.isFinite(step) && (to < 0 || (to >= list.length && Math.abs(step) === 1))) return;
    if (isRange && !before) anchor = from;
    goTo(to);
    if (isRange) extend(place);
    else before = null;
  }

  // --- Real pixels are asked for when somebody wants to see them ---
  const isClear = (tile) => "revealed" in tile.dataset;
  function reveal(tile, on) {
    const frame = find(".picture", tile);
    if (on && !find(".real", tile)) {
      const image = Object.assign(new Image(), { className: "real", alt: "", draggable: false });
      image.src = frame.dataset.thumbnail;
      find(".veil", tile).after(image);
    }
    tile.toggleAttribute("data-revealed", on);
    if (on) find("[name=seen]", tile).disabled = false;
    for (const uuid of members(tile)) on ? revealed.add(uuid) : revealed.delete(uuid);
    if (tile === here()) describe(tile);
  }
  function revealAll(button) {
    const on = !tiles().every(isClear);
    tiles().forEach((tile) => reveal(tile, on));
    find("span", button).textContent = on ? "Blur all" : "Reveal all";
    veilOthers = !on;
  }
  let peeking = null;
  function peek(tile) {
    reveal(tile, !isClear(tile));
    peeking = isClear(tile) ? { tile, since: performance.now() } : null;
  }
  document.addEventListener("keyup", ({ key }) => {
    if (key.toLowerCase() !== "b" || !peeking) return;
    if (performance.now() - peeking.since > HOLD) reveal(peeking.tile, false);
    peeking = null;
  });

  // --- Keys. Before the desk's own: an arrow means another tile here ---
  const isOff = () => document.documentElement.dataset.hotkeys === "off";
  const chooser = () => find("#chooser[open]");
  const onTable = (target) => target.closest("#tiles") || !target.closest("a, button, input, select, textarea, summary, dialog");
  addEventListener("keydown", (event) => {
    if (event.isComposing || event.altKey || find("dialog[open]") || find(".menu[open]")) return;
    if (event.key === "Escape") return escape(event);
    if (event.key === "Enter" && chooser() && !event.target.closest("a, button, summary")) {
      event.preventDefault();
      return find("#act-form [data-verdict=reject][data-bulk]").click();
    }
    if (!find("#tiles") || !isFree() || !onTable(event.target)) return;
    if (handle(event)) { event.preventDefault(); event.stopImmediatePropagation(); }
  }, true);
  function handle(event) {
    const { key, shiftKey } = event, letters = !isOff() && !chooser();
    if (event.ctrlKey || event.metaKey) {
      if (key.toLowerCase() !== "a") return false;
      selectAll(true);
      return true;
    }
    if (key === "*") { if (letters) selectAll(true); return letters; }
    if (key === " ") {
      if (!event.repeat) shiftKey ? extend(at()) : toggle(here());
      return true;
    }
    if (key === "Enter" && event.target.closest("#tiles")) { open(here()); return true; }
    const step = key.length === 1 ? key.toLowerCase() : key;
    if (!(step in STEPS) || (key.length === 1 && !letters)) return false;
    move(step, shiftKey);
    return true;
  }
  function escape(event) {
    const back = find("[data-cancel]");
    if (back) back.click();
    else if (chooser()) { chooser().open = false; goTo(at()); }
    else if (find("#tiles") && onTable(event.target)) selectAll(false);
    else return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  // --- Mouse and touch ---
  let pressed = null;
  const tileOf = (target) => (isFree() ? target.closest?.("#tiles .tile") : null);
  // On the window, so that it comes before what the desk does with the same click.
  addEventListener("click", (event) => {
    const { target } = event;
    const tile = tileOf(target), button = target.closest("button, a");
    if (tile && !button) {
      event.preventDefault();
      if (pressed?.looked) { pressed = null; return; }
      const index = tiles().indexOf(tile);
      if (target.closest("[data-apart]")) { goTo(index); return apart(tile); }
      goTo(index);
      return event.shiftKey ? extend(index) : toggle(tile);
    }
    if (!button) return;
    if (button.ariaDisabled === "true") {
      event.preventDefault();
      event.stopImmediatePropagation();
      find("#why-not-text").textContent = button.dataset.why;
      find("#why-not").showModal();
      find("#why-not").focus();
      return say(button.dataset.why);
    }
    if (button.matches("[data-bulk]") && !tiles().some((one) => box(one).checked)) {
      event.preventDefault();
      event.stopImmediatePropagation();
      return warn("Nothing is selected. Space selects the image under the cursor.");
    }
    // The first press opens the categories, the second sends them.
    if (button.matches("[data-verdict=reject][data-bulk]") && find("#chooser:not([open])")) {
      event.preventDefault();
      find("#chooser").open = true;
      return find("#chooser .choices :is(input, summary)").focus({ preventScroll: true });
    }
    if (button.matches("[data-peek]")) peek(here());
    if (button.matches("[data-peek-all]")) { event.preventDefault(); revealAll(button); }
    if (button.matches("[data-apart]")) apart(here());
    if (button.matches("[data-keeps]")) keeps = true;
  }, true);
  addEventListener("change", ({ target }) => {
    // A category may stand twice in the chooser: as a suggestion and in its place.
    if (target.name !== "categories") return;
    for (const twin of all(`#chooser [value="${CSS.escape(target.value)}"]`)) twin.checked = target.checked;
    // Enter on a group's name opens it; on what was just picked it sends.
    if (document.activeElement.matches("#chooser summary")) target.focus({ preventScroll: true });
  });
  addEventListener("dblclick", ({ target }) => {
    const tile = tileOf(target);
    if (tile && !target.closest("[data-apart]")) open(tile);
  });
  addEventListener("pointerdown", ({ target, pointerType }) => {
    const tile = pointerType !== "mouse" && tileOf(target);
    pressed = tile ? { tile, looked: false, timer: setTimeout(() => { pressed.looked = !isClear(tile); reveal(tile, true); }, HOLD) } : null;
  });
  for (const kind of ["pointerup", "pointercancel"]) addEventListener(kind, () => {
    if (!pressed) return;
    clearTimeout(pressed.timer);
    if (pressed.looked) reveal(pressed.tile, false);
  });
  addEventListener("contextmenu", (event) => { if (pressed?.looked) event.preventDefault(); });

  function open(tile) {
    keeps = true;
    location.assign(tile.dataset.open);
  }
  // Images that look the same: one by one, or as one tile again.
  function apart(tile) {
    if (tile?.dataset.toggle) htmx.ajax("GET", tile.dataset.toggle, { target: "#sheet", swap: "outerHTML" });
  }

  // --- The claims: renewed while somebody works, given back when they leave ---
  let keeps = false, ends = 0, workedAt = 0, renewedAt = 0;
  const held = () => tiles().filter((tile) => !isGone(tile)).flatMap(members);
  function body(name) {
    const data = new FormData();
    data.set("csrfmiddlewaretoken", find("[name=csrfmiddlewaretoken]").value);
    held().forEach((uuid) => data.append(name, uuid));
    return data;
  }
  // How many are still theirs of those that were asked about; nothing without an answer.
  async function renew({ quietly = false } = {}) {
    const sheet = find("#sheet"), asked = new Set(held());
    renewedAt = performance.now();
    if (!asked.size) return;
    const answer = await fetch(sheet.dataset.renewal, { method: "POST", body: body("have") }).catch(() => null);
    if (!answer?.ok || answer.redirected) return;
    const { held: kept, seconds, until } = await answer.json(), mine = new Set(kept);
    const lost = [];
    for (const tile of tiles()) {
      // Those that came in meanwhile were not asked about.
      if (isGone(tile) || !members(tile).some((uuid) => asked.has(uuid) && !mine.has(uuid))) continue;
      tile.dataset.gone = "";
      select(tile, false);
      lost.push(tile.dataset.name);
    }
    count();
    if (lost.length && !quietly) say(`No longer yours: ${lost.slice(0, NAMED).join("; ")}${lost.length > NAMED ? "; and others" : ""}.`);
    if (mine.size) {
      ends = performance.now() + 1000 * seconds;
      find("#sheet").dataset.until = until;
    }
    return { asked: asked.size, mine: mine.size };
  }
  for (const kind of ["keydown", "pointermove", "pointerdown"]) addEventListener(kind, () => { workedAt = performance.now(); }, { passive: true });
  function tick() {
    const clock = find("[data-clock]"), now = performance.now();
    if (!clock) return;
    const left = Math.max(0, Math.round((ends - now) / 1000));
    clock.textContent = left ? `for ${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}` : "no longer: the claims have lapsed";
    if (left && left < 60 && !clock.hasAttribute("data-low")) say("Your claims lapse in a minute unless you go on working.");
    clock.toggleAttribute("data-low", left < 60);
    if (left && workedAt > renewedAt && now - renewedAt > 60_000) renew();
  }
  setInterval(tick, 1000);
  addEventListener("submit", () => { keeps = true; });
  document.addEventListener("htmx:afterRequest", ({ detail }) => { if (!detail.elt.matches("[data-quiet]")) keeps = false; });
  addEventListener("pagehide", () => {
    keepPlace();
    if (keeps || !held().length) return;
    // They linger, because whoever leaves may only be loading this again; and the page that comes may renew them before
    // this arrives, which the server sees from when they ended as far as was known here.
    const data = body("lingers");
    data.set("until", find("#sheet").dataset.until);
    navigator.sendBeacon(find("#sheet").dataset.release, data);
  });
  addEventListener("pageshow", ({ persisted }) => { keeps = false; if (persisted) location.reload(); });
  // Another window of the same sheet may have been left meanwhile.
  addEventListener("focus", () => { if (performance.now() - renewedAt > 5000) renew(); });

  // --- The place: kept in this tab, for as long as the claims last, until somebody comes back to the sheet ---
  function keepPlace() {
    const list = find("#tiles");
    if (!list) return;
    const chosen = tiles().filter((tile) => box(tile).checked).flatMap(members);
    const kept = { at: Date.now(), shown: held(), current, place, chosen, scrolled: [list.scrollTop, scrollY] };
    try { sessionStorage.setItem(find("#sheet").dataset.place, JSON.stringify(kept)); } catch { /* full, or forbidden */ }
  }
  function recallPlace() {
    let kept = null;
    try { kept = JSON.parse(sessionStorage.getItem(find("#sheet").dataset.place)); } catch { /* forbidden, or not ours */ }
    // When nothing of it is left, this is another sheet, and begins at its beginning.
    if (!kept || Date.now() - kept.at > PLACE_LASTS || !held().some((uuid) => kept.shown.includes(uuid))) return;
    ({ current, place, scrolled } = kept);
    for (const uuid of kept.chosen) selected.add(uuid);
  }
  function scrollBack() {
    if (!scrolled || !find("#tiles")) return;
    find("#tiles").scrollTop = scrolled[0];
    scrollTo(0, scrolled[1]);
    scrolled = null;
  }

  // --- After every swap ---
  function arrive(target) {
    if (target.matches("body, #sheet")) { dress(); restore(); }
    const list = find("#tiles");
    if (list) list.inert = Boolean(find("#confirm"));
    count();
    if (document.activeElement === document.body && isFree()) goTo(at());
    else if (list) goTo(at(), { focus: false });
    scrollBack();
  }
  function dress() {
    const list = find("#tiles");
    if (list) Object.assign(list, { role: "listbox", ariaMultiSelectable: "true" });
    for (const tile of tiles()) {
      Object.assign(tile, { role: "option", ariaLabel: tile.dataset.name, ariaSelected: String(box(tile).checked) });
      box(tile).hidden = true;
    }
    ends = performance.now() + 1000 * find("#sheet").dataset.lease;
    renewedAt = performance.now();
    tick();
  }
  function restore() {
    const list = tiles(), known = list.findIndex((tile) => members(tile).includes(current));
    for (const tile of list) {
      select(tile, box(tile).checked || members(tile).every((uuid) => selected.has(uuid)));
      if (members(tile).some((uuid) => revealed.has(uuid))) reveal(tile, true);
      else if (veilOthers) reveal(tile, false);
    }
    // The tile under the cursor may be decided: go on where it was.
    if (known < 0 && list.length) current = members(list[Math.min(place, list.length - 1)])[0];
  }
  document.addEventListener("htmx:load", ({ target }) => {
    if (target.matches("#sheet, #act")) arrive(target);
    // The button that had focus is gone.
    if (target.matches("#break[data-dismissed]") && document.activeElement === document.body && isFree()) goTo(at());
  });
  async function begin() {
    recallPlace();
    arrive(document.body);
    if (find("#confirm")) return;
    // Whatever page was here before may have given claims back while this one was on its way.
    const claims = find("#tiles") ? await renew({ quietly: true }) : { asked: 0, mine: find(".result") ? 1 : 0 };
    if (!claims) return;
    const [entry] = performance.getEntriesByType("navigation");
    // Loading it again, or coming back to it, asks for a sheet when nothing is left of this one.
    if (!claims.mine) { if (entry && entry.type !== "navigate") claimAgain(); }
    else if (claims.mine < claims.asked) look();
  }
  // The sheet as it is now, without what is no longer held.
  function look() {
    scrolled = [find("#tiles").scrollTop, scrollY];
    htmx.ajax("GET", location.pathname + location.search, { target: "#sheet", swap: "outerHTML" });
  }
  function claimAgain() {
    const form = find("#claim-sheet, #act-form");
    form.action = location.pathname + location.search;
    form.removeAttribute("hx-post");
    keeps = true;
    HTMLFormElement.prototype.submit.call(form);
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
