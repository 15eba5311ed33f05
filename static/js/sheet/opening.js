// Open the page: the place and the claims as they are now.
import { find } from "../core/dom.js";
import { renewClaims } from "./claims.js";
import { keepClaims } from "./leaving.js";
import { recallPlace, rememberScroll } from "./place.js";
import { onTilesShown } from "./tiles_shown.js";

const getAddress = () => location.pathname + location.search;

// The sheet as it is now, without what is no longer held.
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

// Whatever page was here before may have given claims back while this one was on its way.
function askForClaims() {
  if (find("#tiles")) {
    return renewClaims({ isQuiet: true });
  }
  return { asked: 0, held: find(".result") ? 1 : 0 };
}

// Loading it again, or coming back to it, asks for a sheet when nothing is left of this one.
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
