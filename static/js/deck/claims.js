// Deck claims: renew them together while the person works, release them on idleness or leaving.
import { getCsrfToken } from "../core/csrf.js";
import { find } from "../core/dom.js";
import { setClaimEnds, setPanelClaimEnds } from "../desk/claim_clock.js";
import { getClaimExpiry, noteClaimExpiry } from "./claim_expiry.js";
import { listShown } from "./held.js";
import { listAhead, setAhead } from "./panels_ahead.js";
import { post } from "./post.js";
import { deckElement } from "./state.js";
import { isTakenOver } from "./taken_over.js";

const asField = (review) => ["have", review];

function keepHeld(asked, { held, seconds, until }) {
  const ends = performance.now() + 1000 * seconds;
  noteClaimExpiry(until);
  // Keep panels that arrived during the request: the answer does not cover them.
  const isKept = ({ dataset: { review } }) => held.includes(review) || !asked.includes(review);
  setAhead(listAhead().filter(isKept));
  listAhead().forEach((panel) => setPanelClaimEnds(panel, ends));
  if (held.includes(find("#panel")?.dataset.review)) {
    setClaimEnds(ends);
  }
}

export async function renewClaims() {
  const asked = listShown();
  let answer;
  try {
    answer = await post(deckElement.dataset.renewal, asked.map(asField));
  } catch {
    return;
  }
  if (answer.ok) {
    keepHeld(asked, JSON.parse(answer.text));
  }
}

// Shorten the claim of the image on screen instead of releasing it: the page may only be reloading.
export function releaseClaims() {
  // Claims shared with another window are left to expire.
  const ahead = listAhead().filter((panel) => !isTakenOver(panel));
  const fields = ahead.map((panel) => asField(panel.dataset.review));
  const current = find("#panel")?.dataset.review;
  if (current) {
    fields.push(["lingers", current]);
  }
  if (fields.length) {
    const always = [
      ["csrfmiddlewaretoken", getCsrfToken()],
      ["until", getClaimExpiry()],
    ];
    const body = new URLSearchParams([...always, ...fields]);
    navigator.sendBeacon(deckElement.dataset.release, body);
  }
  setAhead([]);
}
