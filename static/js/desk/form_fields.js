// Form fields filled in on submit: the page to return to, and the seconds on screen.
import { find } from "../core/dom.js";
import { getShownFor } from "./settling.js";

document.addEventListener(
  "submit",
  ({ target: form }) => {
    // The desk changes the URL without loading a page.
    const next = form.closest(".menu") && find('input[name="next"]', form);
    if (next) {
      next.value = location.pathname + location.search;
    }
    const seconds = find('[name="seconds"]', form);
    if (seconds) {
      seconds.value = (getShownFor() / 1000).toFixed(1);
    }
  },
  true,
);
