"""Command line: ``make bench``, or ``python -m bench --sizes 10000,1000000 --parts server``.

docs/benchmarks.md describes it.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.places import ROOT, Place, make_place
from bench.report import make_table

# Parts that need other settings than the rest.
LINE_UP = {"CLASSIFIERS": "opennsfw", "ENCODER": "efficientnet-lite0"}
SETTINGS = {"ingest": LINE_UP, "classify": LINE_UP}
# The crowd runs last, because it may decide all images of a small database.
PARTS = (
    "server",
    "plans",
    "export",
    "trial",
    "browser",
    "ablation",
    "poll",
    "ingest",
    "classify",
    "crowd",
)


def main() -> None:
    options = _options()
    folder = Path(os.environ.get("BENCH_DIR") or ROOT / "var" / "bench")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(
                f"Another benchmark runs in {folder}. Wait for it, or choose another BENCH_DIR."
            )
        _run(options, folder)


def _run(options: argparse.Namespace, folder: Path) -> None:
    results: dict[int, dict[str, Any]] = {}
    failed: list[str] = []
    for size in options.sizes:
        place = make_place(size, folder, os.environ.get("BENCH_DATABASE_URL", ""))
        place.ready()
        measured = {part: _measure(place, part) for part in options.parts}
        results[size] = {part: found for part, found in measured.items() if found is not None}
        failed += [f"{part} at {size:,}" for part in options.parts if part not in results[size]]
    vendor = place.vendor
    print(f"\n{vendor}, assets in the database:\n\n{make_table(results)}\n")
    out = options.json or folder / f"{vendor.lower()}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    out.write_text(
        json.dumps({"database": vendor, "cores": os.cpu_count(), "results": results}, indent=1)
    )
    print(f"All figures: {out}")
    if failed:
        sys.exit(f"Without figures, for the reasons above: {', '.join(failed)}.")


def _options() -> argparse.Namespace:
    def sizes(text: str) -> list[int]:
        return sorted(int(size) for size in text.replace("_", "").split(","))

    parser = argparse.ArgumentParser(
        prog="make bench", description="Fill databases of several sizes, and measure."
    )
    parser.add_argument(
        "--sizes", type=sizes, default=[10_000, 1_000_000], help="assets, comma separated"
    )
    parser.add_argument(
        "--parts", type=lambda text: text.split(","), default=list(PARTS), help=", ".join(PARTS)
    )
    parser.add_argument(
        "--json", type=Path, help="where the figures go; default: a new file in BENCH_DIR"
    )
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"There is no part {', '.join(sorted(unknown))}.")
    return options


def _measure(place: Place, part: str) -> Any:
    """Measure one part in its own process, so that parts do not affect each other."""
    print(f"{place.vendor}, {place.size:,}: {part} …", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / f"{part}.json"
        try:
            place.inside(part, str(out), **SETTINGS.get(part, {}))
        except subprocess.CalledProcessError:  # printed already; the other parts continue
            return None
        return json.loads(out.read_text())


if __name__ == "__main__":
    main()
