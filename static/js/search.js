// J, K and the arrows walk through the results; Enter opens the one in focus, because it is a link.
"use strict";

const results = () => [...document.querySelectorAll(".results .frame > a")];
let at = -1; // the last one in focus

function go(to) {
  const links = results();
  if (!links.length) return;
  at = Math.min(Math.max(to, 0), links.length - 1);
  links[at].focus();
}
// How many stand in a row, as it happens to be laid out.
function columns() {
  const links = results(), top = links[0].getBoundingClientRect().top;
  return links.findIndex((link) => link.getBoundingClientRect().top > top) || links.length;
}
document.addEventListener("focusin", ({ target }) => {
  const found = results().indexOf(target);
  if (found >= 0) at = found;
});
document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-move]");
  if (button) go(at + Number(button.dataset.move));
});
document.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const inGrid = event.target.closest?.(".results .frame > a");
  if (!step || !inGrid || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  const to = at + step * columns();
  if (to < 0 || to >= results().length) return;
  event.preventDefault();
  go(to);
});
