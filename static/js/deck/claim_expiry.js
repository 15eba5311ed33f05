// When the claims end as far as is known here. What ends later was renewed by another page, and is
// not given back by this one.

let expiry = "";

export const getClaimExpiry = () => expiry;

export function noteClaimExpiry(datetime = "") {
  if (Date.parse(datetime) >= (Date.parse(expiry) || 0)) {
    expiry = datetime;
  }
}
