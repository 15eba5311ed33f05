"""Size of an installation, computed from measured unit costs: ``python -m bench.growth``.

docs/scaling.md shows the table and says where each unit cost comes from.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields

DAY = 86_400
DAYS_A_YEAR = 365
HOURS_OF_A_PERSON = 6  # of decisions a day


@dataclass(frozen=True, kw_only=True)
class UnitCosts:
    """Costs of one image, measured on two cores (docs/benchmarks.md)."""

    store_cpu_ms: float = 57  # decode, resize, encode, write
    classify_cpu_ms: float = 42  # local line-up and encoder
    decide_cpu_ms: float = 6  # a person's decision on PostgreSQL, web server
    poll_cpu_ms: float = 4.4  # four polls
    database_kb: float = 3.3  # rows and indexes of an undecided image
    record_kb: float = 0.6  # a decision with its indexes
    classification_kb: float = 0.5  # a classification with its indexes
    classifications: int = 3
    statements: int = 60  # of a request with one image, from arrival to decision
    file_mb: float = 0.5  # JPEG of 1024 × 1024: rendition, thumbnail, original
    seconds_to_decide: float = 3
    asked_share: float = 0.05  # images that go to a person


@dataclass(frozen=True, kw_only=True)
class Load:
    """Images that arrive."""

    images_a_day: int
    peak: float = 3  # busiest hour in times of the average


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The size that carries a load."""

    images_a_second_at_peak: float
    cores_of_workers: float
    cores_of_web_servers: float
    statements_a_second_at_peak: float
    people: float
    database_gb_a_month: float
    rows_of_classifications_a_month: float
    files_tb_a_month: float
    database_tb_a_year: float
    files_tb_a_year: float


def make_plan(load: Load, costs: UnitCosts) -> Plan:
    """Multiply; utilisation of cores is 60 % at peak."""
    peak = load.images_a_day / DAY * load.peak
    work = costs.store_cpu_ms + costs.classify_cpu_ms + costs.poll_cpu_ms
    row_kb = (
        costs.database_kb
        + costs.asked_share * costs.record_kb
        + costs.classifications * costs.classification_kb
    )
    monthly = load.images_a_day * 30
    return Plan(
        images_a_second_at_peak=peak,
        cores_of_workers=peak * work / 1000 / 0.6,
        cores_of_web_servers=peak * costs.asked_share * costs.decide_cpu_ms / 1000 / 0.6
        + peak * 2 * costs.decide_cpu_ms / 1000 / 0.6,  # a submission and a result
        statements_a_second_at_peak=peak * costs.statements,
        people=load.images_a_day
        * costs.asked_share
        * costs.seconds_to_decide
        / (HOURS_OF_A_PERSON * 3600),
        database_gb_a_month=monthly * row_kb / 1e6,
        rows_of_classifications_a_month=monthly * costs.classifications,
        files_tb_a_month=monthly * costs.file_mb / 1e6,
        database_tb_a_year=load.images_a_day * DAYS_A_YEAR * row_kb / 1e9,
        files_tb_a_year=load.images_a_day * DAYS_A_YEAR * costs.file_mb / 1e6,
    )


def make_table(images: Sequence[int], costs: UnitCosts) -> str:
    """Return a Markdown table with a column for each load."""
    plans = [make_plan(Load(images_a_day=number), costs) for number in images]
    head = ["images a day", *(f"{number:,}" for number in images)]
    rows = [head, ["---"] * len(head)]
    for each in fields(Plan):
        values = [getattr(plan, each.name) for plan in plans]
        rows.append([each.name.replace("_", " "), *map(_format, values)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _format(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--images", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000], metavar="N"
    )
    for each in fields(UnitCosts):
        kind = int if each.type == "int" else float
        parser.add_argument(f"--{each.name.replace('_', '-')}", type=kind, default=each.default)
    given = vars(parser.parse_args())
    images = given.pop("images")
    # This is a command line of the benchmarks, not of Loupe: it has no other output.
    print(make_table(images, UnitCosts(**given)))


if __name__ == "__main__":
    main()
