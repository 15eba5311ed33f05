"""Log filter for outages: one line a minute instead of a traceback per failure."""

from __future__ import annotations

import logging
import mmap
import re
import time

from generation.core.outages import Outage, find_outage

EVERY = 60.0  # seconds
# 503 responses without an exception of their own: refused calls, probes.
ANSWERS = len(Outage)
KINDS = len(Outage) + 1


class FoldOutages(logging.Filter):
    """A filter that passes one record per minute and kind of outage, as one line.

    The line states the number of dropped records.

    The state is in memory that forked processes share, so that the processes of a worker log one
    line together. It has no lock that a killed process could hold; a race at worst logs two lines.
    """

    def __init__(self) -> None:
        super().__init__()
        shared = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("d")
        self.logged_at, self.seen_at, self.left_out = (
            shared[:KINDS],
            shared[KINDS : 2 * KINDS],
            shared[2 * KINDS :],
        )

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        error = _get_error(record)
        kind = self._kind_of(record, error, now)
        if kind is None:
            return True
        self.seen_at[kind] = now
        if self.logged_at[kind] and now - self.logged_at[kind] < EVERY:
            self.left_out[kind] += 1
            return False
        self._fold(record, error, int(self.left_out[kind]))
        self.logged_at[kind], self.left_out[kind] = now, 0
        return True

    def _kind_of(
        self, record: logging.LogRecord, error: BaseException | None, now: float
    ) -> int | None:
        outage = find_outage(error)
        if outage is not None:
            return int(outage)
        if record.name == "django.request" and getattr(record, "status_code", None) == 503:
            return ANSWERS
        # The queue's processes also report consequences of the outage.
        if record.name == "django-q":
            return next(
                (
                    int(each)
                    for each in Outage
                    if self.seen_at[each] and now - self.seen_at[each] < EVERY
                ),
                None,
            )
        return None

    def _fold(self, record: logging.LogRecord, error: BaseException | None, left_out: int) -> None:
        parts = [record.getMessage()]
        if error is not None and error is not record.msg:
            parts.append(f"{type(error).__name__}: {error}")
        line = re.sub(r"\s+", " ", ": ".join(parts))
        repeats = f" ({left_out} more like it since the last such line)" if left_out else ""
        record.msg, record.args = f"{line}{repeats}", None
        record.exc_info = record.exc_text = record.stack_info = None


def _get_error(record: logging.LogRecord) -> BaseException | None:
    if isinstance(record.msg, BaseException):
        return record.msg
    return record.exc_info[1] if record.exc_info else None
