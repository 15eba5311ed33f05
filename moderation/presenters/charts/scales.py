"""Scales and ticks: from values to coordinates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from moderation.presenters.charts.charts import Step, TimeAxis

HOUR_STRIDES = (1, 2, 3, 6, 12, 24, 48, 168)
DAY_STRIDES = (1, 2, 3, 4, 7, 14, 28)
WEEK_STRIDES = (1, 2, 4, 8, 13)
_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map of values to coordinates; values beyond its ends are cut."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Return the coordinate of a value, with one decimal."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + min(1.0, max(0.0, share)) * (self.end - self.start), 1)


def find_ticks(
    low: float,
    high: float,
    *,
    count: int = 4,
    is_whole: bool = False,
    steps: Sequence[float] = (),
) -> list[float]:
    """Return about ``count`` round values, of which the last is at or above ``high``.

    ``steps`` are the distances that are round in the unit, for example of durations. Without any
    spread the axis goes from ``low`` to ``low + 1``.
    """
    if high <= low:
        high = low + 1
    rough = (high - low) / count
    step = next((step for step in steps if step >= rough), None) or find_step(rough)
    if is_whole:
        step = max(1.0, math.ceil(step))
    first, last = math.floor(low / step), math.ceil(round(high / step, 9))
    return [round(number * step, 10) for number in range(first, last + 1)]


def find_step(rough: float) -> float:
    """Return the smallest of 1, 2, 2.5 and 5 times a power of ten that is at least ``rough``."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in _STEPS if step * power >= rough * (1 - 1e-9))


def find_time_ticks(axis: TimeAxis, room: int) -> list[tuple[int, str]]:
    """Return the periods that get a label, and the labels; at most ``room``, which is 2 or more."""
    strides = {Step.HOUR: HOUR_STRIDES, Step.DAY: DAY_STRIDES, Step.WEEK: WEEK_STRIDES}
    for stride in strides[axis.step]:
        found = list(_iter_labels(axis, stride))
        if len(found) <= room:
            break
    return found[:room]


def _iter_labels(axis: TimeAxis, stride: int) -> Iterable[tuple[int, str]]:
    last = len(axis.starts) - 1
    for index, start in enumerate(axis.starts):
        # Hours are counted from midnight, longer periods from the newest one.
        if axis.step == Step.HOUR and stride < 24:
            is_shown = start.hour % stride == 0
        elif axis.step == Step.HOUR:
            is_shown = start.hour == 0 and start.toordinal() % (stride // 24) == 0
        else:
            is_shown = (last - index) % stride == 0
        if is_shown:
            is_day = axis.step != Step.HOUR or start.hour == 0
            yield index, f"{start.day} {start:%b}" if is_day else f"{start:%H:%M}"
