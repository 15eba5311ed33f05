// Claims: renewed together while somebody works, given back when they stop or leave.
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
  // Those that came in meanwhile were not asked about.
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

// The one on screen lingers: its page may only be loading again.
export function releaseClaims() {
  // What was taken over is another window's too; it lapses by itself.
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
