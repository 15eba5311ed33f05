// When somebody last did something on this page.

let workedAt = performance.now();

function noteWork() {
  workedAt = performance.now();
}

export const getWorkedAt = () => workedAt;

export const getIdleFor = () => performance.now() - workedAt;

document.addEventListener("pointermove", noteWork, { passive: true });
document.addEventListener("keydown", noteWork, { passive: true });
