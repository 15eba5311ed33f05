"""CSV export of the record, compared with ``csv.writer`` over a raw cursor in the same run.

Measures rows per second, time to first byte, and memory.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from django.db import connection
from django.test import RequestFactory

from bench.people import InProcess, Person
from config.wsgi import application
from moderation.services.exports.columns import DECISION_COLUMNS

# The columns of the export, under their database names. No image of the benchmark is on legal hold.
RAW = """
    SELECT d.sequence, d.uuid, d.created_at, d.verdict, d.is_blurred, d.categories, d.categories, d.note,
           d.reviewer_name, d.by_policy, p.version, f.version, d.seconds, d.batch, o.uuid, r.uuid, b.uuid, a.uuid, a.sha256,
           a.original_sha256, a.original_type, a.original_size,
           a.source, a.original_name, v.top_category, v.top_category,
           v.top_confidence, v.risk, v.reason, q.uuid, q.provider, q.model_name, coalesce(a.seed, q.seed),
           q.prompt, q.negative_prompt, a.end_user, a.purged_at, a.purge_reason, 0, d.hash
    FROM moderation_decision d
    JOIN moderation_review v ON v.id = d.review_id
    JOIN generation_asset a ON a.id = v.asset_id
    LEFT JOIN generation_generationrequest q ON q.id = a.request_id
    LEFT JOIN moderation_policy p ON p.id = d.policy_id
    LEFT JOIN moderation_policy f ON f.id = d.policy_in_force_id
    LEFT JOIN moderation_decision r ON r.id = d.reverses_id
    LEFT JOIN moderation_decision b ON b.reverses_id = d.id
    LEFT JOIN moderation_decision o ON o.id = d.second_of_id
    ORDER BY d.sequence
"""


class Echo:
    """A file object that returns each line instead of storing it."""

    def write(self, value: str) -> str:
        return value


def main(out: str) -> None:
    assert len(DECISION_COLUMNS) == RAW.partition("FROM")[0].count(","), (
        "The export has other columns than the reference."
    )
    person = Person("senior", InProcess(application))
    person.log_in()
    # Once without measuring, up to the first chunk: imports, caches, query plan.
    next(_export(person))
    result = {"reference": _measure(_reference), "export": _measure(lambda: _export(person))}
    Path(out).write_text(json.dumps(result))


def _measure(pieces: Callable[[], Iterator[bytes]]) -> dict[str, Any]:
    before = _peak(start_over=True)
    started = time.perf_counter()
    first = rows = size = 0.0
    for piece in pieces():
        first = first or time.perf_counter() - started
        rows += piece.count(b"\r\n")
        size += len(piece)
    seconds = time.perf_counter() - started
    return {
        "rows": int(rows) - 1,
        "per_second": round(rows / seconds),
        "first_byte_ms": round(1000 * first, 1),
        "peak_mib": round(_peak() - before, 1),
        "mib": round(size / 2**20, 1),
    }


def _peak(*, start_over: bool = False) -> float:
    """Return the process's peak memory in MiB; with ``start_over`` reset the peak first."""
    if start_over:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def _reference() -> Iterator[bytes]:
    writer = csv.writer(Echo(), quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    yield str(writer.writerow([column.header for column in DECISION_COLUMNS])).encode()
    piece: list[str] = []
    for row in _raw_rows():
        piece.append(writer.writerow(row))
        if len(piece) == 100:
            yield "".join(piece).encode()
            piece.clear()
    yield "".join(piece).encode()


def _raw_rows() -> Iterable[Any]:
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            yield from cursor.cursor.execute(RAW)
        return
    from django.db import transaction

    with transaction.atomic(), connection.connection.cursor("reference") as named:
        named.itersize = 2000
        yield from named.execute(RAW)


def _export(person: Person) -> Iterator[bytes]:
    """Yield the chunks of the export from the whole application."""
    request = RequestFactory(SERVER_NAME="127.0.0.1").get("/exports/decisions.csv")
    cookie = "; ".join(f"{name}={value}" for name, value in person.cookies.items())
    got: list[str] = []

    def start(status: str, headers: Any, error: Any = None) -> Any:
        got.append(status)

    parts = application({**request.environ, "HTTP_COOKIE": cookie}, start)
    try:
        yield from parts
    finally:
        parts.close()
    assert got[0].startswith("200"), got
