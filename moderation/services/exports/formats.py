"""Write a table as CSV, JSON Lines or Parquet, in chunks that limit memory use.

Values are read raw and converted by kind: creating a model instance per row took most of an
export's time. CSV has text, safe to open in a spreadsheet. JSON Lines and Parquet have typed values
and null instead of empty text; formulas are not escaped there, because programs read them.
"""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from moderation import taxonomy
from moderation.models.found_categories import BITS
from moderation.services.exports import parquet
from moderation.services.exports.escaping import escape_cell
from moderation.services.exports.tables import Table

Converter = Callable[[Any], Any]
Steps = Sequence[tuple[int, Converter]]


class Chunk(NamedTuple):
    data: bytes
    rows: int


def _parse_hex(text: str) -> str:
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _format_timestamp(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds")


def _list_names(slugs: Iterable[str]) -> list[str]:
    return [taxonomy.join_names([slug]) for slug in slugs]


def _list_found(bits: int) -> list[str]:
    return [slug for slug, bit in BITS.items() if bits & bit]


def _encode(value: Any) -> Any:
    """Convert what ``json`` cannot: numbers to numbers, times to ISO 8601."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        return _format_timestamp(value)
    raise TypeError(f"{type(value).__name__} is not JSON.")


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_encode)


# --- CSV ---


@functools.lru_cache(maxsize=4096)
def _join_slugs(stored: str) -> str:
    return escape_cell(" ".join(json.loads(stored)))


@functools.lru_cache(maxsize=4096)
def _join_names(stored: str) -> str:
    return escape_cell(taxonomy.join_names(json.loads(stored)))


# By database driver: psycopg returns Python types; SQLite returns text, floats and datetimes.
CSV: dict[str, Converter] = {
    "text": escape_cell,
    "slugs": _join_slugs,
    "names": _join_names,
    "finding": lambda slug: escape_cell(taxonomy.join_names([slug])),
    "flag": lambda value: "yes" if value else "no",
    "timestamp": _format_timestamp,
    "found": lambda bits: " ".join(_list_found(bits)),
}
CSV_SQLITE: dict[str, Converter] = {
    **CSV,
    "uuid": _parse_hex,
    "one": lambda value: f"{value:.1f}",
    "two": lambda value: f"{value:.2f}",
}
# Looked-up values have Python types with both databases.
CSV_LOOKED_UP: dict[str, Converter] = {
    **CSV,
    "slugs": lambda slugs: escape_cell(" ".join(slugs)),
    "names": lambda slugs: escape_cell(taxonomy.join_names(slugs)),
    "six": lambda value: f"{value:.6f}",
    "lines": lambda lines: escape_cell("; ".join(lines)),
    "object": lambda value: escape_cell(_dump(value)),
    "runs": lambda value: escape_cell(_dump(value)),
    "loras": lambda value: escape_cell(_dump(value)),
}


def iter_csv(table: Table) -> Iterator[Chunk]:
    """Yield the header, then the rows."""
    # The byte order mark tells spreadsheets that this is UTF-8.
    yield Chunk(("\ufeff" + _format_csv([table.headers])).encode(), 0)
    work = _plan(table, CSV_SQLITE if table.is_on_sqlite else CSV, CSV_LOOKED_UP)
    for batch in table.iter_batches():
        rows = [_convert_row(row, work) for row in batch]
        yield Chunk(_format_csv(rows).encode(), len(rows))


def _format_csv(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


# --- Typed values ---


def _keep_text(text: str) -> str | None:
    return text or None


TYPED: dict[str, Converter] = {
    "text": _keep_text,
    "code": _keep_text,
    "slugs": json.loads,
    "names": lambda stored: _list_names(json.loads(stored)),
    "finding": lambda slug: taxonomy.join_names([slug]),
    "flag": bool,
    "timestamp": lambda value: value.astimezone(UTC),
    "found": _list_found,
    "uuid": str,
    "one": float,
    "two": float,
}
TYPED_SQLITE: dict[str, Converter] = {**TYPED, "uuid": _parse_hex}
TYPED_LOOKED_UP: dict[str, Converter] = {
    **TYPED,
    "slugs": list,
    "names": _list_names,
    "six": float,
}


def _iter_typed(table: Table) -> Iterator[list[list[Any]]]:
    work = _plan(table, TYPED_SQLITE if table.is_on_sqlite else TYPED, TYPED_LOOKED_UP)
    for batch in table.iter_batches():
        yield [_convert_row(row, work) for row in batch]


def iter_jsonl(table: Table) -> Iterator[Chunk]:
    """Yield one JSON object per row."""
    headers = table.headers
    for batch in _iter_typed(table):
        lines = [_dump(dict(zip(headers, row, strict=True))) + "\n" for row in batch]
        yield Chunk("".join(lines).encode(), len(lines))


def iter_parquet(table: Table) -> Iterator[Chunk]:
    """Yield a Parquet file, one row group at a time."""
    writer = parquet.Writer(table.headers, table.kinds)
    for batch in _iter_typed(table):
        writer.add(batch)
        if writer.is_full:
            yield Chunk(*writer.flush())
    yield Chunk(*writer.close())


def _plan(
    table: Table, read: Mapping[str, Converter], looked_up: Mapping[str, Converter]
) -> list[tuple[int, Converter]]:
    """Return the position of each column that needs a conversion, with the conversion."""
    width = len(table.columns)
    found = [(at, (read if at < width else looked_up).get(k)) for at, k in enumerate(table.kinds)]
    return [(at, step) for at, step in found if step is not None]


def _convert_row(row: Sequence[Any], work: Steps) -> list[Any]:
    cells = list(row)
    for at, step in work:
        value = cells[at]
        if value is not None:
            cells[at] = step(value)
    return cells


class Format(NamedTuple):
    """A file format of the exports."""

    name: str
    media_type: str
    write: Callable[[Table], Iterator[Chunk]]


FORMATS = {
    "csv": Format("CSV", "text/csv; charset=utf-8", iter_csv),
    "jsonl": Format("JSON Lines", "application/jsonl; charset=utf-8", iter_jsonl),
    "parquet": Format("Parquet", "application/vnd.apache.parquet", iter_parquet),
}


def write_table(table: Table, file_format: str) -> Iterator[Chunk]:
    """Return the chunks of the file. Raises ParquetMissingError."""
    if file_format == "parquet":
        parquet.require()
    return FORMATS[file_format].write(table)
