// Claim expiry: the latest end of the deck's claims that this page knows. Claims with a later end
// were renewed by another page, and are not released by this one.

let expiry = "";

export const getClaimExpiry = () => expiry;

export function noteClaimExpiry(datetime = "") {
  if (Date.parse(datetime) >= (Date.parse(expiry) || 0)) {
    expiry = datetime;
  }
}
