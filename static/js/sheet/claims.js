// Sheet claims: renew them, and mark the tiles whose claims were lost.
import { say } from "../core/announce.js";
import { getCsrfToken } from "../core/csrf.js";
import { find } from "../core/dom.js";
import { select, showCount } from "./selection.js";
import { getMembers, isGone, listTiles } from "./tiles.js";

const NAMED_MAX = 5; // lost tiles named in one message; fifty names would be unreadable
let claimsEnd = 0;
let renewedAt = 0;

export const getClaimsEnd = () => claimsEnd;

export const getRenewedFor = () => performance.now() - renewedAt;

export const getRenewedAt = () => renewedAt;

export function startClaims(seconds) {
  claimsEnd = performance.now() + 1000 * seconds;
  renewedAt = performance.now();
}

export const listHeld = () =>
  listTiles()
    .filter((tile) => !isGone(tile))
    .flatMap(getMembers);

export function makeClaimForm(name) {
  const data = new FormData();
  data.set("csrfmiddlewaretoken", getCsrfToken());
  listHeld().forEach((uuid) => data.append(name, uuid));
  return data;
}

async function askServer(sheet) {
  const options = { method: "POST", body: makeClaimForm("have") };
  const answer = await fetch(sheet.dataset.renewal, options).catch(() => null);
  return answer?.ok && !answer.redirected ? answer.json() : null;
}

// Return the names of the lost tiles. Tiles that arrived during the request are not lost.
function markLost(asked, held) {
  const isLost = (uuid) => asked.has(uuid) && !held.has(uuid);
  const lost = listTiles().filter((tile) => !isGone(tile) && getMembers(tile).some(isLost));
  for (const tile of lost) {
    tile.dataset.gone = "";
    select(tile, false);
  }
  showCount();
  return lost.map((tile) => tile.dataset.name);
}

// Return how many claims were asked for and how many are still held; undefined without an answer.
export async function renewClaims({ isQuiet = false } = {}) {
  const asked = new Set(listHeld());
  renewedAt = performance.now();
  const answer = asked.size ? await askServer(find("#sheet")) : null;
  if (!answer) {
    return undefined;
  }
  const held = new Set(answer.held);
  const lost = markLost(asked, held);
  if (lost.length && !isQuiet) {
    const others = lost.length > NAMED_MAX ? "; and others" : "";
    say(`No longer yours: ${lost.slice(0, NAMED_MAX).join("; ")}${others}.`);
  }
  if (held.size) {
    claimsEnd = performance.now() + 1000 * answer.seconds;
    find("#sheet").dataset.until = answer.until;
  }
  return { asked: asked.size, held: held.size };
}
