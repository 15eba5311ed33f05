"""Run the tests of the scorecard and print a table: pass, fail or not tried.

``make scorecard`` runs the rows of gate C; ``ARGS=--all`` runs every row, ``ARGS='S1 S17'`` some.
``ARGS='--read FILE …'`` runs nothing and reads JUnit files that pytest has written.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.scorecard.results import Case, build_line, format_table, read_junit
from tests.scorecard.rows import ROWS, Row

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make scorecard")
    parser.add_argument("rows", nargs="*", metavar="S1", choices=[[], *(row.id for row in ROWS)])
    parser.add_argument("--all", action="store_true", help="run the rows of the gates N and R too")
    parser.add_argument("--processes", default="auto", help="of pytest; default: one for each core")
    parser.add_argument(
        "--read", nargs="+", type=Path, metavar="FILE", help="read JUnit files, run no tests"
    )
    options = parser.parse_args()
    is_all = options.all or options.read
    chosen = [row for row in ROWS if _is_chosen(row, options.rows, is_all=is_all)]
    if options.read:
        cases = [case for path in options.read for case in read_junit(path)]
    else:
        cases = _run_tests(chosen, options.processes)
    lines = [build_line(row, cases, was_run=row in chosen, root=ROOT) for row in ROWS]
    counts = {name: sum(line.result == name for line in lines) for name in ("pass", "fail")}
    left = len(lines) - sum(counts.values())
    sys.stdout.write(f"{format_table(lines)}\n")
    sys.stdout.write(f"{counts['pass']} pass, {counts['fail']} fail, {left} not tried\n")
    return 1 if counts["fail"] else 0


def _is_chosen(row: Row, ids: list[str], *, is_all: bool) -> bool:
    return row.id in ids if ids else is_all or row.gate == "C"


def _run_tests(rows: list[Row], processes: str) -> list[Case]:
    """Run each test once, slow ones included. A failure is a result, not an error."""
    tests = sorted({test for row in rows for test in row.tests})
    there = [test for test in tests if (ROOT / test.partition("::")[0]).exists()]
    if not there:
        return []
    with tempfile.TemporaryDirectory() as folder:
        junit = Path(folder) / "results.xml"
        options = ["-q", "-m", "slow or not slow", "-n", processes, "--dist", "loadgroup"]
        command = [sys.executable, "-m", "pytest", *options, f"--junitxml={junit}", *there]
        subprocess.run(command, cwd=ROOT, check=False)
        return read_junit(junit) if junit.exists() else []


if __name__ == "__main__":
    sys.exit(main())
