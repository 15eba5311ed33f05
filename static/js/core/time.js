// Time: format clocks, and defer work until after the next frame.

export const formatClock = (seconds) =>
  `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;

// Run the work after the next frame is painted, so that it does not delay the image.
export const afterPaint = (work) => requestAnimationFrame(() => setTimeout(work));
