"""Results of a run of pytest, read from its JUnit file, and the table of the scorecard."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.scorecard.rows import Row

NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Case:
    """The result of one test. ``properties`` are the figures that it recorded."""

    node: str  # as pytest names it, without parameters
    outcome: str  # passed, failed or skipped
    seconds: float
    properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the printed table."""

    id: str
    goal: str
    result: str
    figure: str


def read_junit(path: Path) -> list[Case]:
    """Return the results in a JUnit file that pytest wrote."""
    # Written by the pytest that this command has started.
    root = ElementTree.parse(path).getroot()  # no file from outside
    return [_read_case(element) for element in root.iter("testcase")]


def _read_case(element: ElementTree.Element) -> Case:
    found = {child.tag for child in element}
    outcome = (
        "failed" if found & {"failure", "error"} else "skipped" if "skipped" in found else "passed"
    )
    classname = element.get("classname", "")
    name = re.sub(r"\[.*", "", element.get("name", ""), flags=re.DOTALL)
    if not classname:  # a file that could not be imported: its name is in place of the test's
        classname, name = name, "import"
    place = classname.replace(".", "/")
    properties = tuple(
        (item.get("name", ""), item.get("value", "")) for item in element.iter("property")
    )
    return Case(f"{place}.py::{name}", outcome, float(element.get("time", 0)), properties)


def build_line(row: Row, cases: Iterable[Case], *, was_run: bool, root: Path) -> Line:
    """Return the line of a row, by the results of its tests."""
    if not row.tests:
        return Line(row.id, row.goal, NOT_TRIED, row.reason)
    if missing := [test for test in row.tests if not (root / test.partition("::")[0]).exists()]:
        return Line(row.id, row.goal, NOT_TRIED, f"no such test: {', '.join(missing)}")
    if not was_run:
        why = "not chosen" if row.gate == "C" else f"gate {row.gate}: run it with --all"
        return Line(row.id, row.goal, NOT_TRIED, why)
    own = [case for case in cases if _belongs_to(case, row)]
    failed = [case for case in own if case.outcome == "failed"]
    passed = [case for case in own if case.outcome == "passed"]
    figure = ", ".join(_describe(own))
    if figure and row.less:
        figure += f" (less than the goal: {row.less})"
    if failed:
        names = ", ".join(sorted({case.node.rpartition("::")[2] for case in failed})[:3])
        return Line(row.id, row.goal, "fail", f"{figure}: {names}")
    if not passed:
        return Line(row.id, row.goal, NOT_TRIED, figure or "no test ran")
    return Line(row.id, row.goal, "pass", figure)


def _belongs_to(case: Case, row: Row) -> bool:
    return any(
        case.node == test if "::" in test else case.node.startswith((f"{test}::", f"{test}/"))
        for test in row.tests
    )


def _describe(cases: list[Case]) -> Iterator[str]:
    """Yield the counts of tests, and the sum of each figure that they recorded."""
    for outcome in ("passed", "failed", "skipped"):
        if count := sum(case.outcome == outcome for case in cases):
            yield f"{count} {outcome}"
    sums: dict[str, float] = {}
    for case in cases:
        for name, value in case.properties:
            sums[name] = sums.get(name, 0) + float(value)
    yield from (f"{value:g} {name}" for name, value in sums.items())


def format_table(lines: Iterable[Line]) -> str:
    rows = [
        ("id", "result", "goal", "figure"),
        *((x.id, x.result, x.goal, x.figure) for x in lines),
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in rows
    )
