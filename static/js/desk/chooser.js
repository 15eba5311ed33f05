// Chooser: the first press of Reject opens the categories; the second press, or Enter, sends them.
import { findOpenChooser } from "../core/controls.js";
import { find } from "../core/dom.js";
import "../core/category_twins.js";

function open(chooser) {
  chooser.open = true;
  scrollTo(0, 0);
  find(".choices input, .choices summary", chooser).focus({ preventScroll: true });
}

// Open the group of categories whose key is pressed with Shift.
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

// Enter sends the rejection, except on a link, button or group's name before a category is chosen.
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

// Scroll to the image: on a phone it is at the top of the page.
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
    find("[data-hotkey][data-verdict=reject]").click();
  } else if (isGroupKey(key) && openGroup(key.key.toLowerCase())) {
    event.preventDefault();
  }
});
