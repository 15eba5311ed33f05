// Fields that a form gets when it is sent.
import { find } from "../core/dom.js";
import { getShownFor } from "./settling.js";

document.addEventListener(
  "submit",
  ({ target: form }) => {
    // Where the desk has led since the page was loaded.
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
