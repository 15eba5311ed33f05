// One window at a time sends what a person has kept, and each decision is sent once.

const REMEMBERED = 60_000; // ms for which other windows can see that a decision has been sent

export function takeTurn(user, work) {
  return navigator.locks ? navigator.locks.request(`loupe.sending.${user}`, work) : work();
}

// Return what `work` returns, or null where another window has sent this decision. Locks are in
// order between windows, localStorage is not: Chromium passes a removal on with a delay, and a
// window that has just got its turn still read what was gone in a quarter of 150 tries. So a sent
// decision keeps its lock for a while.
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
    // After a fault the lock has been given back by then: the decision has to be tried again.
    request.catch(reject);
  });
}
