// Activity: record the time of the last pointer movement or key press.

let workedAt = performance.now();

function noteWork() {
  workedAt = performance.now();
}

export const getWorkedAt = () => workedAt;

export const getIdleFor = () => performance.now() - workedAt;

document.addEventListener("pointermove", noteWork, { passive: true });
document.addEventListener("keydown", noteWork, { passive: true });
