// My history: J and K go from decision to decision; U reverses the one in focus, which Enter does anyway.
"use strict";

const rows = [...document.querySelectorAll("[data-row]")];
const stopOf = (row) => row.querySelector("[data-reverses]:not(:disabled)") ?? row.querySelector("a[data-stop]");

// The key belongs to one button at a time, so that what it presses is what is in focus.
function mark(row) {
  for (const button of document.querySelectorAll("[data-reverses][data-hotkey]")) { delete button.dataset.hotkey; button.removeAttribute("aria-keyshortcuts"); }
  const button = row.querySelector("[data-reverses]:not(:disabled)");
  if (!button) return;
  button.dataset.hotkey = "u";
  button.setAttribute("aria-keyshortcuts", "U");
}
function move(by) {
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const row = rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + by))];
  if (row) stopOf(row).focus();
}
document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-move]");
  if (button) move(+button.dataset.move);
});
document.addEventListener("focusin", ({ target }) => {
  const row = target.closest("[data-row]");
  if (row) mark(row);
});
document.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || event.ctrlKey || event.metaKey || event.altKey || !event.target.closest("[data-row]")) return;
  event.preventDefault();
  move(step);
});

// How long each can still be taken back, by the server's clock; this only counts down from there.
const loadedAt = performance.now();
function tick() {
  for (const clock of document.querySelectorAll("[data-left]")) {
    const left = Math.round(clock.dataset.left - (performance.now() - loadedAt) / 1000);
    if (left > 0) { clock.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`; continue; }
    const row = clock.closest("[data-row]"), button = row.querySelector("[data-reverses]"), hadFocus = row.contains(document.activeElement);
    button.disabled = true;
    delete clock.dataset.left;
    clock.parentElement.textContent = "undo is over";
    if (hadFocus) row.querySelector("a[data-stop]").focus();
  }
}
tick();
setInterval(tick, 1000);
