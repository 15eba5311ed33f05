// Sending locks: one window at a time sends a person's stored decisions, each of them once.

const REMEMBERED = 60_000; // ms for which a sent decision keeps its lock

export function takeTurn(user, work) {
  return navigator.locks ? navigator.locks.request(`loupe.sending.${user}`, work) : work();
}

// Return the result of `work`, or null if another window has sent this decision. Locks are ordered
// between windows, localStorage is not: Chromium propagates a removal late. In a quarter of 150
// tries, a window that had just acquired the sending lock still read a removed entry. A sent
// decision therefore keeps its own lock for REMEMBERED.
export function sendOnce(key, work) {
  if (!navigator.locks) {
    return work();
  }
  return new Promise((resolve, reject) => {
    const name = `loupe.sent.${key}`;
    const request = navigator.locks.request(name, { ifAvailable: true }, async (lock) => {
      resolve(lock && (await work()));
      await new Promise((done) => setTimeout(done, lock ? REMEMBERED : 0));
    });
    // If `work` fails, its lock is released before the rejection, so that a retry can acquire it.
    request.catch(reject);
  });
}
