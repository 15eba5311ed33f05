// Handles: sliders over a histogram that move the limits of a category, by pointer and keyboard.
import { find } from "../core/dom.js";
import { LIMITS, NEVER, countImages, drawZones, findZone, readInput } from "./zones.js";

const NAMES = { review: "Person from", blur: "Blurred from", reject: "Reject from" };
const EFFECTS = {
  review: "would go to a person",
  blur: "would be delivered blurred",
  reject: "would be rejected",
};
const STEPS = {
  ArrowLeft: -1,
  ArrowDown: -1,
  ArrowRight: 1,
  ArrowUp: 1,
  PageDown: -10,
  PageUp: 10,
  Home: -NEVER,
  End: NEVER,
};

function describe(row, limit) {
  const at = readInput(row, limit);
  if (at === NEVER) {
    return `${NAMES[limit]}: never`;
  }
  const zone = findZone(row, limit);
  const images = zone ? countImages(row, zone.start, zone.end) : 0;
  const all = Number(row.dataset.images).toLocaleString("en");
  const place = `${NAMES[limit]} ${at}: ${images.toLocaleString("en")} of ${all} images`;
  return `${place} of the last ${row.dataset.days} days ${EFFECTS[limit]}`;
}

// The places between which a handle may move: the limits keep their order.
function findRange(row, limit) {
  const place = LIMITS.indexOf(limit);
  const set = (name) => readInput(row, name) < NEVER;
  const before = LIMITS.slice(0, place).filter(set);
  const after = LIMITS.slice(place + 1).filter(set);
  return {
    least: Math.ceil(Math.max(0, ...before.map((name) => readInput(row, name)))),
    most: Math.floor(Math.min(100, ...after.map((name) => readInput(row, name)))),
  };
}

// Beyond the last place lies "never".
function clamp(row, limit, wanted) {
  const { least, most } = findRange(row, limit);
  return wanted > 100 ? NEVER : Math.min(most, Math.max(least, Math.round(wanted)));
}

function showHandle(row, limit) {
  const handle = find(`[data-handle="${limit}"]`, row);
  const at = readInput(row, limit);
  handle.style.insetInlineStart = `${(100 * at) / NEVER}%`;
  handle.toggleAttribute("data-never", at === NEVER);
  handle.setAttribute("aria-valuenow", at);
  handle.setAttribute("aria-valuetext", describe(row, limit));
}

function show(row) {
  row.toggleAttribute("data-off", !find("input[type=checkbox]", row).checked);
  drawZones(row);
  LIMITS.forEach((limit) => showHandle(row, limit));
}

function move(row, limit, wanted) {
  const at = clamp(row, limit, wanted);
  find(`[data-limit="${limit}"]`, row).value = at === NEVER ? "" : at;
  find("input[type=checkbox]", row).checked = true;
  show(row);
}

function onKey(event, row, limit) {
  const step = STEPS[event.key];
  if (step === undefined || event.ctrlKey || event.altKey || event.metaKey) {
    return;
  }
  event.preventDefault();
  event.stopPropagation();
  const at = readInput(row, limit);
  // From "never", the first step down leads to the highest place.
  move(row, limit, at === NEVER && step === -10 ? 91 : at + step);
}

function onPointer(event, row, limit) {
  const handle = event.currentTarget;
  handle.setPointerCapture(event.pointerId);
  handle.focus();
  const track = find("[data-track]", row);
  const follow = (moved) => {
    const box = track.getBoundingClientRect();
    move(row, limit, ((moved.clientX - box.left) / box.width) * NEVER);
  };
  handle.addEventListener("pointermove", follow);
  handle.addEventListener(
    "lostpointercapture",
    () => handle.removeEventListener("pointermove", follow),
    { once: true },
  );
}

function buildHandle(row, limit) {
  const handle = document.createElement("span");
  handle.className = "handle";
  handle.dataset.handle = limit;
  handle.tabIndex = 0;
  handle.setAttribute("role", "slider");
  handle.setAttribute("aria-label", `${NAMES[limit]}, ${row.dataset.name}`);
  handle.setAttribute("aria-valuemin", 0);
  handle.setAttribute("aria-valuemax", NEVER);
  handle.addEventListener("keydown", (event) => onKey(event, row, limit));
  handle.addEventListener("pointerdown", (event) => onPointer(event, row, limit));
  return handle;
}

export function addHandles(row) {
  find("[data-track]", row).append(...LIMITS.map((limit) => buildHandle(row, limit)));
  row.addEventListener("input", () => show(row));
  show(row);
}
