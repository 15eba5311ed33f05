// Categories of a rejection: the first press of Reject opens them, the second, or Enter, sends
// them.
import { findOpenChooser } from "../core/controls.js";
import { find } from "../core/dom.js";
import "../core/category_twins.js";

function open(chooser) {
  chooser.open = true;
  scrollTo(0, 0);
  find(".choices input, .choices summary", chooser).focus({ preventScroll: true });
}

// Shift and a letter: straight to that group of categories.
function openGroup(letter) {
  const summary = find(`#chooser .tree [data-hotkey="${letter}"]`);
  if (!summary) {
    return false;
  }
  find("#chooser").open = true;
  summary.click();
  summary.focus({ preventScroll: true });
  return true;
}

// Enter on a group's name opens it, unless a category is chosen already.
function isSending(key) {
  const chooser = findOpenChooser();
  return (
    key.key === "Enter" &&
    chooser &&
    (find(":checked", chooser) || !key.target.closest("a, button, summary"))
  );
}

const isGroupKey = (key) =>
  key.shiftKey && /^[A-Z]$/.test(key.key) && !findOpenChooser() && find("#chooser");

document.addEventListener(
  "click",
  (event) => {
    const chooser = find("#chooser:not([open])");
    if (chooser && event.target.closest("button, a")?.matches("[data-verdict=reject]")) {
      event.preventDefault();
      open(chooser);
    }
  },
  true,
);

// On a phone the picture stands above the page's beginning.
document.addEventListener(
  "toggle",
  ({ target }) => {
    if (target.id === "chooser" && target.open) {
      scrollTo(0, 0);
    }
  },
  true,
);

document.addEventListener("desk:key", (event) => {
  const key = event.detail;
  if (!find("#panel")) {
    return;
  }
  if (isSending(key)) {
    event.preventDefault();
    find('[data-hotkey="r"][data-verdict]').click();
  } else if (isGroupKey(key) && openGroup(key.key.toLowerCase())) {
    event.preventDefault();
  }
});
