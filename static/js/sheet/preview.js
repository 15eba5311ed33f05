// Preview of a batch: Escape cancels one that is still loading, and Space never confirms, because on
// the tiles it selects. A late preview takes the focus while somebody is selecting.
import { say, warn } from "../core/announce.js";
import { find } from "../core/dom.js";

let loading = null; // the request of a preview
let lastKey = "";

const isPreview = ({ elt, requestConfig }) =>
  elt.id === "act-form" && requestConfig.path === elt.getAttribute("hx-post");

// Return whether a preview was cancelled.
export function cancelPreview() {
  if (!loading) {
    return false;
  }
  loading.abort();
  loading = null;
  say("Cancelled: nothing was decided.");
  return true;
}

addEventListener("htmx:beforeSend", ({ detail }) => {
  loading = isPreview(detail) ? detail.xhr : loading;
});

addEventListener("htmx:afterRequest", ({ detail }) => {
  loading = detail.xhr === loading ? null : loading;
});

addEventListener("keydown", ({ key }) => (lastKey = key), true);
addEventListener("pointerdown", () => (lastKey = ""), true);

addEventListener(
  "click",
  (event) => {
    if (lastKey === " " && event.target === find("#confirm [value=confirm]")) {
      event.preventDefault();
      event.stopImmediatePropagation();
      warn("Space selects images, it decides nothing. Enter confirms, Esc goes back.");
    }
  },
  true,
);
