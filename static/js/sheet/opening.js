// Opening: restore the place on the sheet, and check its claims.
import { find } from "../core/dom.js";
import { renewClaims } from "./claims.js";
import { keepClaims } from "./leaving.js";
import { recallPlace, rememberScroll } from "./place.js";
import { onTilesShown } from "./tiles_shown.js";

const getAddress = () => location.pathname + location.search;

// Reload the sheet without the tiles that are no longer held.
function loadAgain() {
  rememberScroll();
  htmx.ajax("GET", getAddress(), { target: "#sheet", swap: "outerHTML" });
}

function claimAgain() {
  const form = find("#claim-sheet, #act-form");
  form.action = getAddress();
  form.removeAttribute("hx-post");
  keepClaims();
  HTMLFormElement.prototype.submit.call(form);
}

// Renew the claims: the previous page may have shortened them while this one was loading.
function askForClaims() {
  if (find("#tiles")) {
    return renewClaims({ isQuiet: true });
  }
  return { asked: 0, held: find(".result") ? 1 : 0 };
}

// Return whether the page was reloaded or revisited: it then claims a new sheet if none is held.
function isComingBack() {
  const [entry] = performance.getEntriesByType("navigation");
  return entry && entry.type !== "navigate";
}

export async function openSheet() {
  recallPlace();
  onTilesShown(document.body);
  if (find("#confirm")) {
    return;
  }
  const claims = await askForClaims();
  if (claims?.held === 0 && isComingBack()) {
    claimAgain();
  } else if (claims?.held && claims.held < claims.asked) {
    loadAgain();
  }
}
