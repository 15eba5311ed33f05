"""The numbers of docs/judgement.md, compared with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings

from moderation.judgement.audits import (
    Stratum,
    allocate_audits,
    cut_sizes,
    estimate_miss_rate,
    estimate_misses,
    estimate_recall,
    find_miss_rate_upper,
)
from moderation.judgement.estimates import count_audits, estimate_wilson, find_exact_upper

PAGE = (Path(settings.BASE_DIR) / "docs" / "judgement.md").read_text()
TEXT = " ".join(PAGE.split())


def read_table(header: str) -> list[list[str]]:
    """Return the cells of the table whose first column has this header."""
    rows = PAGE.split(f"\n| {header} |")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip().replace(",", "") for cell in row.strip("|").split("|")] for row in rows]


@pytest.fixture(scope="module")
def strata() -> list[Stratum]:
    rows = read_table("images with the … scores")
    assert len(rows) == 5
    return [Stratum(int(row[1]), int(row[2]), int(row[3])) for row in rows]


def test_example_has_the_sizes_and_audits_of_the_code(strata: list[Stratum]) -> None:
    assert tuple(s.size for s in strata) == cut_sizes(19_000)
    assert tuple(s.audited for s in strata) == allocate_audits(cut_sizes(19_000), 1000)
    for s, row in zip(strata, read_table("images with the … scores"), strict=True):
        assert row[4:] == [f"{s.size / s.audited:.1f}", f"{s.size * s.misses / s.audited:.1f}"]


def test_figures_of_the_example_are_those_of_the_code(strata: list[Stratum]) -> None:
    precision, recall = estimate_wilson(370, 1000), estimate_recall(370, strata)
    rate, bound = estimate_miss_rate(strata), find_miss_rate_upper(strata)
    silent = [Stratum(s.size, s.audited, 0) for s in strata]

    for sentence in (
        f"{precision.value:.0%}, between {precision.low:.0%} and {precision.high:.0%}",
        f"they stand for about {estimate_misses(strata):.0f}.",
        f"{rate.value:.2%}, between {rate.low:.2%} and {rate.high:.2%}",
        f"that is {recall.value:.0%}, between {recall.low:.0%} and {recall.high:.0%}",
        f"with a certainty of 95%: {bound:.2%}",
        f"“at most {find_miss_rate_upper(silent):.2%}”",
    ):
        # The page writes "85 %", and "between 71 and 92 %".
        expected = re.sub(r"%", " %", re.sub(r"% and", " and", sentence))
        assert expected in TEXT


def test_numbers_of_audits_are_those_of_the_code() -> None:
    rows = read_table("miss rate below")
    assert len(rows) == 5
    for limit, *counts in rows:
        share = float(limit.removesuffix(" %")) / 100
        assert [int(count) for count in counts] == [count_audits(share, k) for k in (0, 1, 3)]


def test_bounds_after_an_audit_are_those_of_the_code() -> None:
    rows = read_table("misses found")
    assert len(rows) == 4
    for misses, *bounds in rows:
        assert bounds == [
            f"{find_exact_upper(int(misses), n) * 100:.2f} %" for n in (100, 300, 1000, 3000)
        ]


def test_intervals_of_precision_are_those_of_the_code() -> None:
    rows = read_table("decided")
    assert len(rows) == 3
    for counts, interval in rows:
        figure = estimate_wilson(*(int(count) for count in counts.split(" of ")))
        assert interval == f"{figure.low * 100:.0f} and {figure.high * 100:.0f} %"
