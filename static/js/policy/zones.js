// Zones: the outcomes along the scale of one category, and the images in each of them.
import { find, findAll } from "../core/dom.js";

const SVG = "http://www.w3.org/2000/svg";
export const NEVER = 101; // place of a limit that is not set
export const LIMITS = ["review", "blur", "reject"];
const OUTCOMES = { review: "person", blur: "blur", reject: "reject" };
const WORDS = { approve: "approved", person: "to a person", blur: "blurred", reject: "rejected" };

export function readInput(row, limit) {
  const text = find(`[data-limit="${limit}"]`, row).value;
  const number = Number.parseFloat(text);
  return Number.isFinite(number) ? Math.min(100, Math.max(0, number)) : NEVER;
}

export function countImages(row, start, end) {
  const bins = row.dataset.bins.split(" ").map(Number);
  return bins.slice(Math.floor(start), Math.floor(end)).reduce((sum, images) => sum + images, 0);
}

// Without a rule, everything is approved.
function listZones(row) {
  const zones = [{ outcome: "approve", start: 0, end: NEVER }];
  for (const limit of "off" in row.dataset ? [] : LIMITS) {
    const start = readInput(row, limit);
    if (start < NEVER) {
      zones.at(-1).end = start;
      zones.push({ outcome: OUTCOMES[limit], start, end: NEVER });
    }
  }
  return zones;
}

export function findZone(row, limit) {
  return listZones(row).find((zone) => zone.outcome === OUTCOMES[limit]);
}

function drawZone(svg, zone) {
  const rect = document.createElementNS(SVG, "rect");
  rect.setAttribute("class", "zone");
  rect.dataset.outcome = zone.outcome;
  rect.setAttribute("x", zone.start);
  rect.setAttribute("y", 42);
  rect.setAttribute("width", Math.max(0, zone.end - zone.start));
  rect.setAttribute("height", 4);
  svg.append(rect);
}

function writeCount(row, zone) {
  const part = document.createElement("span");
  part.dataset.outcome = zone.outcome;
  const number = document.createElement("span");
  number.className = "num";
  number.textContent = countImages(row, zone.start, zone.end).toLocaleString("en");
  part.append(number, ` ${WORDS[zone.outcome]} `);
  return part;
}

export function drawZones(row) {
  const svg = find("svg", row);
  findAll(".zone", svg).forEach((zone) => zone.remove());
  const zones = listZones(row);
  zones.forEach((zone) => drawZone(svg, zone));
  const counts = find("[data-counts]", row);
  // The images without a number do not depend on the limits.
  const unscored = findAll("[data-unscored]", counts);
  counts.replaceChildren(...zones.map((zone) => writeCount(row, zone)), ...unscored);
}
