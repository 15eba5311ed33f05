"""Formats of hash lists: plain text, CSV, and JSON as ThreatExchange and HMA write it.

SHA-256 and PDQ have the same length, so a hash alone does not tell its algorithm.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from moderation import taxonomy

ALGORITHMS = ("sha256", "pdq")
COLUMNS = ("hash", "algorithm", "category", "note", "external_id")
NOTE_MAX, EXTERNAL_ID_MAX = 500, 200
FAULTS_SHOWN = 20
_HEX = re.compile(r"[0-9a-fA-F]{64}")
# https://developers.facebook.com/docs/threat-exchange/reference/apis/threat-updates/
_THREAT_TYPES = {"HASH_SHA256": "sha256", "HASH_PDQ": "pdq"}


class HashFileError(ValueError):
    """A file that cannot be imported. ``faults`` has one message for each invalid line."""

    def __init__(self, faults: list[str]) -> None:
        more = len(faults) - FAULTS_SHOWN
        listed = faults[:FAULTS_SHOWN] + ([f"And {more} more."] if more > 0 else [])
        super().__init__("\n".join(["Nothing was imported.", *listed]))
        self.faults = faults


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedEntry:
    """A hash of a file, and what the file says about it."""

    value: bytes
    algorithm: str
    category: str = ""
    note: str = ""
    external_id: str = ""


def parse_hash(text: str) -> bytes:
    """Parse 64 hexadecimal digits. Raises ValueError."""
    if not _HEX.fullmatch(text.strip()):
        raise ValueError("not a hash of 64 hexadecimal digits")
    return bytes.fromhex(text.strip())


def parse_file(content: bytes, *, algorithm: str = "") -> list[ParsedEntry]:
    """Parse a whole file; the first line or character tells the format.

    ``algorithm`` applies to hashes for which the file names none. Raises HashFileError.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise HashFileError(["The file is not UTF-8 text."]) from None
    start = text.lstrip()[:1]
    if start in ("{", "["):
        rows = _read_json(text)
    elif text.split("\n", 1)[0].split(",")[0].strip().lower() == "hash":
        rows = _read_csv(text)
    else:
        rows = _read_lines(text)
    return _parse_rows(rows, algorithm)


def write_csv(entries: Iterable[Mapping[str, str]]) -> Iterator[str]:
    """Yield the lines of a CSV file that ``parse_file`` reads."""
    for row in ({name: name for name in COLUMNS}, *entries):
        line = io.StringIO()
        csv.DictWriter(line, COLUMNS, lineterminator="\n").writerow(row)
        yield line.getvalue()


def _parse_rows(rows: Iterable[tuple[str, Mapping[str, str]]], algorithm: str) -> list[ParsedEntry]:
    faults: list[str] = []
    entries: dict[tuple[str, bytes], ParsedEntry] = {}
    for place, row in rows:
        try:
            entry = _parse_row(row, algorithm)
        except ValueError as error:
            faults.append(f"{place}: {error}.")
            continue
        entries.setdefault((entry.algorithm, entry.value), entry)
    if faults:
        raise HashFileError(faults)
    if not entries:
        raise HashFileError(["The file has no hashes."])
    return list(entries.values())


def _parse_row(row: Mapping[str, str], algorithm: str) -> ParsedEntry:
    if fault := row.get("fault"):
        raise ValueError(fault)
    chosen = row.get("algorithm", "").strip().lower().replace("-", "") or algorithm
    if chosen not in ALGORITHMS:
        raise ValueError(
            f"the algorithm “{chosen}” is unknown; use sha256 or pdq"
            if chosen
            else "the file does not say whether the hash is sha256 or pdq; name the algorithm"
        )
    category = row.get("category", "").strip()
    if category and category not in taxonomy.list_reject_reasons():
        raise ValueError(f"“{category}” is not a category that a rejection can name")
    note, external_id = row.get("note", "").strip(), row.get("external_id", "").strip()
    if len(note) > NOTE_MAX or len(external_id) > EXTERNAL_ID_MAX:
        raise ValueError(
            f"a note has at most {NOTE_MAX} characters, an external id {EXTERNAL_ID_MAX}"
        )
    if "\0" in note + external_id:
        raise ValueError("a note or external id contains a null character")
    return ParsedEntry(
        value=parse_hash(row.get("hash", "")),
        algorithm=chosen,
        category=category,
        note=note,
        external_id=external_id,
    )


def _read_lines(text: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield f"Line {number}", {"hash": line}


def _read_csv(text: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        names = [name.strip().lower() for name in next(reader)]
        if unknown := [name for name in names if name not in COLUMNS]:
            raise HashFileError(
                [f"Line 1: the column “{unknown[0]}” is unknown; use {', '.join(COLUMNS)}."]
            )
        for values in reader:
            place = f"Line {reader.line_num}"
            if len(values) > len(names):
                yield place, {"fault": f"{len(values)} values for {len(names)} columns"}
            elif any(value.strip() for value in values):
                yield place, dict(zip(names, values, strict=False))
    except csv.Error as error:
        yield f"Line {reader.line_num}", {"fault": str(error)}


def _read_json(text: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Read a list, or the ``data`` of ThreatExchange's pages.

    An item is ``{"type": "HASH_PDQ", "indicator": …, "id": …}`` or, as HMA writes hashes,
    ``{"pdq": …}``.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise HashFileError(["The file is not valid JSON."]) from None
    items = document.get("data") if isinstance(document, dict) else document
    if not isinstance(items, list):
        raise HashFileError(["The JSON has neither a list nor a list named “data”."])
    for number, item in enumerate(items, 1):
        yield f"Item {number}", _read_item(item)


def _read_item(item: Any) -> Mapping[str, str]:
    if not isinstance(item, dict):
        return {"fault": "not an object"}
    if item.get("should_delete"):
        return {"fault": "a removal (should_delete), which an import cannot carry out"}
    own = [name for name in ALGORITHMS if isinstance(item.get(name), str)]
    if len(own) == 1:
        found = {"hash": item[own[0]], "algorithm": own[0]}
    elif isinstance(item.get("indicator"), str):
        kind = str(item.get("type", ""))
        if kind not in _THREAT_TYPES:
            return {"fault": f"the type “{kind}” is not HASH_SHA256 or HASH_PDQ"}
        found = {"hash": item["indicator"], "algorithm": _THREAT_TYPES[kind]}
    else:
        return {"fault": "neither an indicator with a type, nor one of sha256 and pdq"}
    for name, key in (("category", "category"), ("note", "note"), ("external_id", "id")):
        if item.get(key) is not None:
            found[name] = str(item[key])
    return found
