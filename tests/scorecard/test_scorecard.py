"""The scorecard: its rows, and how results become pass, fail or not tried."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scorecard.results import Case, build_line, format_table, read_junit
from tests.scorecard.rows import ROWS, Row

ROOT = Path(__file__).resolve().parents[2]
ROW = Row("S1", "goal", "C", ("tests/faults/test_crash_points.py", "tests/e2e"))
FILE = "tests/faults/test_crash_points.py"


def judge(row: Row, *cases: Case, was_run: bool = True) -> str:
    return build_line(row, cases, was_run=was_run, root=ROOT).result


def test_rows_are_s1_to_s33_and_each_is_explained() -> None:
    page = (ROOT / "docs" / "scorecard.md").read_text()

    assert [row.id for row in ROWS] == [f"S{number}" for number in range(1, 34)]
    assert re.findall(r"^\| (S\d+) \|", page, re.MULTILINE) == [row.id for row in ROWS]
    assert all(bool(row.tests) != bool(row.reason) for row in ROWS)


@pytest.mark.parametrize("test", sorted({test for row in ROWS for test in row.tests}))
def test_tests_of_the_rows_exist(test: str) -> None:
    path, _, name = test.partition("::")

    assert (ROOT / path).exists()
    assert not name or f"def {name}(" in (ROOT / path).read_text()


@pytest.mark.parametrize(
    ("outcomes", "result"),
    [
        (["passed"], "pass"),
        (["passed", "skipped"], "pass"),
        (["passed", "failed"], "fail"),
        (["skipped"], "not tried"),
        ([], "not tried"),
    ],
)
def test_row_passes_only_if_a_test_passed_and_none_failed(outcomes: list[str], result: str) -> None:
    assert judge(ROW, *(Case(f"{FILE}::test", outcome, 1) for outcome in outcomes)) == result


def test_results_of_other_tests_do_not_count() -> None:
    assert judge(ROW, Case("tests/e2e_more/test_x.py::test", "passed", 1)) == "not tried"
    assert judge(ROW, Case("tests/e2e/test_x.py::test", "passed", 1)) == "pass"


def test_row_that_was_not_run_is_not_tried() -> None:
    assert judge(ROW, Case(f"{FILE}::test", "passed", 1), was_run=False) == "not tried"
    assert judge(Row("S1", "goal", "C", ("tests/none.py",))) == "not tried"
    assert judge(Row("S1", "goal", "R", reason="no")) == "not tried"


def test_figures_of_tests_are_summed(tmp_path: Path) -> None:
    path = tmp_path / "results.xml"
    case = (
        '<testcase classname="tests.faults.test_crash_points" name="test[{0}]" time="1">'
        '<properties><property name="crash points" value="{0}"/></properties></testcase>'
    )
    path.write_text(
        f"<testsuites><testsuite>{case.format(4)}{case.format(5)}</testsuite></testsuites>"
    )

    line = build_line(ROW, read_junit(path), was_run=True, root=ROOT)

    assert (line.result, line.figure) == ("pass", "2 passed, 9 crash points")
    assert "2 passed, 9 crash points" in format_table([line])


def test_failures_and_errors_of_the_file_fail_the_row(tmp_path: Path) -> None:
    path = tmp_path / "results.xml"
    case = '<testcase classname="tests.e2e.test_x" name="test" time="1"><{0}/></testcase>'
    for kind, result in (("failure", "fail"), ("error", "fail"), ("skipped", "not tried")):
        path.write_text(f"<testsuite>{case.format(kind)}</testsuite>")
        assert build_line(ROW, read_junit(path), was_run=True, root=ROOT).result == result


def test_file_that_cannot_be_imported_fails_the_row(tmp_path: Path) -> None:
    path = tmp_path / "results.xml"
    path.write_text(
        '<testsuite><testcase classname="" name="tests.e2e.test_x" time="0"><error/></testcase>'
        "</testsuite>"
    )

    assert build_line(ROW, read_junit(path), was_run=True, root=ROOT).result == "fail"


def test_row_prints_what_its_tests_leave_out() -> None:
    row = Row("S1", "goal", "C", ("tests/e2e",), less="not in parallel")

    line = build_line(
        row, [Case("tests/e2e/test_x.py::test", "passed", 1)], was_run=True, root=ROOT
    )

    assert line.figure == "1 passed (less than the goal: not in parallel)"


def test_command_reads_the_results_of_earlier_runs(tmp_path: Path) -> None:
    line = '<testsuites><testsuite><testcase classname="tests.{}" name="test">{}</testcase>'
    paths = [tmp_path / "quick.xml", tmp_path / "slow.xml"]
    paths[0].write_text(line.format("soak", "") + "</testsuite></testsuites>")
    failed = line.format("faults.test_poison", "<failure/>")
    paths[1].write_text(failed + "</testsuite></testsuites>")

    done = subprocess.run(
        [sys.executable, "-m", "tests.scorecard", "--read", *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert re.search(r"^S6 +fail .*1 failed", done.stdout, re.MULTILINE)
    assert done.stdout.endswith("0 pass, 1 fail, 32 not tried\n")
