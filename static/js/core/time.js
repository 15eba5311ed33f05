// Clock texts, and work that waits for the next frame.

export const formatClock = (seconds) =>
  `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;

// The picture is painted first, so that nothing else stands between the key and the next frame.
export const afterPaint = (work) => requestAnimationFrame(() => setTimeout(work));
