// Release the prefetched claims after three idle minutes; claim again on the next activity.
import { getIdleFor } from "../desk/activity.js";
import { releaseClaims, renewClaims } from "./claims.js";
import { fill } from "./filling.js";
import { isDeciding, state } from "./state.js";

const IDLE_AFTER = 180_000; // ms
const BACK_WITHIN = 5000; // ms

export function watchIdleness() {
  const idleFor = getIdleFor();
  if (!state.isIdle && idleFor > IDLE_AFTER && isDeciding()) {
    state.isIdle = true;
    releaseClaims();
  } else if (state.isIdle && idleFor < BACK_WITHIN) {
    state.isIdle = false;
    state.isQueueExhausted = false;
    renewClaims();
    fill();
  }
}
