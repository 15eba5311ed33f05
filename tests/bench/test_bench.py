"""A run of all benchmarks at a small size.

It takes seconds, and its figures have no meaning.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.growth import Load, UnitCosts, make_plan
from bench.growth import make_table as make_growth_table

ROOT = Path(__file__).resolve().parent.parent.parent
SIZE = 1500  # enough images for all parts


@pytest.mark.slow
def test_benchmarks_run_and_write_their_figures_as_json(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    small = {
        "BENCH_DIR": str(tmp_path / "places"),
        "BENCH_DECISIONS": "5",
        "BENCH_VIEWS": "2",
        "BENCH_SECONDS": "1",
        "BENCH_TASKS": "20",
        "BENCH_FILES": "2",
        "BENCH_IMAGES": "2",
    }
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")
    }
    command = [
        sys.executable,
        "-m",
        "bench",
        "--sizes",
        str(SIZE),
        "--parts",
        "server,plans,export,ablation,poll,ingest,classify,crowd",
    ]

    done = subprocess.run(
        [*command, "--json", str(out)],
        cwd=ROOT,
        env={**kept, **small},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())["results"][str(SIZE)]
    assert found["server"]["decision"]["cpu"]["samples"] == 5
    assert [key for key, deal in found["plans"].items() if deal["grows"]] == []
    assert {variant["samples"] for variant in found["ablation"].values()} == {4}
    assert found["crowd"]["decisions"] == found["crowd"]["answered"] > 0
    assert (
        found["crowd"]["dealt_twice"],
        found["crowd"]["decided_twice"],
        found["crowd"]["faults"],
    ) == (0, 0, [])
    assert found["export"]["export"]["rows"] == found["export"]["reference"]["rows"] > SIZE / 2
    assert found["poll"]["job"]["polls"] >= found["poll"]["tasks"] == 20
    assert found["ingest"]["whole"]["per_second"] > 0
    assert found["ingest"]["unsettled"] == 0
    assert found["classify"]["line_up"] == ["opennsfw"]
    assert "| decision: server CPU, ms" in done.stdout


def test_docs_show_the_computed_sizes() -> None:
    table = make_growth_table([100_000, 1_000_000, 10_000_000], UnitCosts())

    assert table in (ROOT / "docs" / "scaling.md").read_text()


def test_size_grows_with_the_load_and_the_costs() -> None:
    small, large = (make_plan(Load(images_a_day=number), UnitCosts()) for number in (10**6, 10**7))
    dear = make_plan(Load(images_a_day=10**6), UnitCosts(classify_cpu_ms=1000))

    assert large.people == pytest.approx(10 * small.people)
    assert dear.cores_of_workers > 5 * small.cores_of_workers
