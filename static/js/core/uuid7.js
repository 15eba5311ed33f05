// UUIDs of version 7, ordered by time; generation/core/uuid7.py gives the reason.

const DASHES_BEFORE = [4, 6, 8, 10];

export function makeUuid7() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  let time = Date.now();
  for (let index = 5; index >= 0; index--) {
    bytes[index] = time % 256;
    time = Math.floor(time / 256);
  }
  bytes[6] = (bytes[6] & 15) | 112;
  bytes[8] = (bytes[8] & 63) | 128;
  const digits = [...bytes].map((byte) => byte.toString(16).padStart(2, "0"));
  return digits.map((pair, index) => (DASHES_BEFORE.includes(index) ? "-" : "") + pair).join("");
}
