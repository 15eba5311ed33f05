"""Write typed rows as a Parquet file with pyarrow, which is an optional package."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Sequence
from typing import Any

# Rows are kept until a row group is full: with long prompts and evidence, about 20 MB.
GROUP_ROWS = 5000


class ParquetMissingError(Exception):
    """The package that writes Parquet is not installed."""


def is_available() -> bool:
    return importlib.util.find_spec("pyarrow") is not None


def require() -> None:
    """Raise ParquetMissingError unless Parquet can be written."""
    if not is_available():
        raise ParquetMissingError(
            "Parquet needs the package pyarrow, which is not installed here. Install the extra"
            " “parquet” of Loupe (pip install 'pyarrow>=21'), and restart Loupe. CSV and JSON Lines"
            " have the same columns and need no package."
        )


class _Sink:
    """A file object that keeps what is written until it is taken."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(self._parts[-1])

    def flush(self) -> None:
        """Do nothing: the file object has no buffer."""

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data


class Writer:
    """Collects rows and encodes each full row group, so that the file is streamed."""

    def __init__(self, headers: Sequence[str], kinds: Sequence[str]) -> None:
        import pyarrow
        import pyarrow.parquet

        self._pyarrow = pyarrow
        types = _build_types(pyarrow)
        self._kinds = kinds
        self._schema = pyarrow.schema(
            [(header, types[kind]) for header, kind in zip(headers, kinds, strict=True)]
        )
        self._sink = _Sink()
        self._writer = pyarrow.parquet.ParquetWriter(self._sink, self._schema, compression="zstd")
        self._rows: list[Sequence[Any]] = []

    @property
    def is_full(self) -> bool:
        return len(self._rows) >= GROUP_ROWS

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        self._rows += rows

    def flush(self) -> tuple[bytes, int]:
        """Encode the collected rows as a row group. Returns its bytes and its number of rows."""
        count = len(self._rows)
        if count:
            columns = zip(*self._rows, strict=True)
            arrays = [
                self._pyarrow.array(self._prepare(kind, values), type=field.type)
                for kind, values, field in zip(self._kinds, columns, self._schema, strict=True)
            ]
            self._writer.write_table(self._pyarrow.table(arrays, schema=self._schema))
            self._rows = []
        return self._sink.take(), count

    def close(self) -> tuple[bytes, int]:
        """Encode the remaining rows and the end of the file."""
        data, count = self.flush()
        self._writer.close()
        return data + self._sink.take(), count

    def _prepare(self, kind: str, values: Iterable[Any]) -> list[Any]:
        if kind == "object":
            return [None if value is None else json.dumps(value) for value in values]
        if kind == "runs":
            return [
                None if runs is None else [_prepare_run(run) for run in runs] for runs in values
            ]
        return list(values)


def _prepare_run(run: dict[str, Any]) -> dict[str, Any]:
    labels = [{**label, "confidence": _to_float(label["confidence"])} for label in run["labels"]]
    numbers = {name: _to_float(run[name]) for name in ("score", "cost")}
    return {**run, **numbers, "labels": labels}


def _to_float(value: Any) -> float | None:
    return None if value is None else float(value)


def _build_types(pyarrow: Any) -> dict[str, Any]:
    """Return the Parquet type of each kind of column."""
    text, number = pyarrow.string(), pyarrow.float64()
    moment = pyarrow.timestamp("us", tz="UTC")
    label = pyarrow.struct(
        [("category", text), ("confidence", number), ("box", pyarrow.list_(number))]
    )
    run = pyarrow.struct(
        [
            ("classifier", text),
            ("version", text),
            ("status", text),
            ("error", text),
            ("flagged", pyarrow.bool_()),
            ("score", number),
            ("covers", pyarrow.map_(text, text)),
            ("cost", number),
            ("duration_ms", pyarrow.int64()),
            ("finished_at", moment),
            ("labels", pyarrow.list_(label)),
        ]
    )
    lora = pyarrow.struct([("model_name", text), ("strength", number)])
    return {
        **dict.fromkeys(("text", "code", "finding", "uuid", "object"), text),
        **dict.fromkeys(("slugs", "names", "found", "lines"), pyarrow.list_(text)),
        **dict.fromkeys(("one", "two", "six", "float"), number),
        "number": pyarrow.int64(),
        "flag": pyarrow.bool_(),
        "timestamp": moment,
        "runs": pyarrow.list_(run),
        "loras": pyarrow.list_(lora),
    }
