"""Context of the pages of trials, and the same figures as JSON and as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from moderation import taxonomy
from moderation.models.policy_trials import OUTCOMES
from moderation.services.trial_counts import ANY

Document = Mapping[str, Any]
NAMES = dict(OUTCOMES)


def build_document(*, candidate: int, baseline: int, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a trial for programs, without the primary keys of images."""
    kept = {name: value for name, value in figures.items() if name != "kept"}
    return {"candidate": candidate, "baseline": baseline, **kept}


def name_category(slug: str) -> str:
    return "All categories" if slug == ANY else taxonomy.join_names([slug])


def describe_share(row: Mapping[str, Any]) -> str:
    """Return a share with its interval in words."""
    if row["value"] is None:
        return "not known, no verdicts"
    return (
        f"{100 * row['value']:.1f} % ({100 * row['low']:.1f} to {100 * row['high']:.1f} %),"
        f" {row['wrong']:,} of {row['n']:,}"
    )


def describe(document: Document) -> str:
    """Return the figures as text for a terminal."""
    return "\n".join(_write_lines(document)) + "\n"


def _write_lines(document: Document) -> Iterator[str]:
    images, expected = document["images"], document["expected"]
    yield (
        f"Policy version {document['candidate']} on the images of the last {document['days']} days,"
        f" compared with version {document['baseline']}"
    )
    if images < expected:
        yield f"A random sample: {images:,} of {expected:,} images. Numbers are of the sample."
    else:
        yield f"{images:,} images"
    yield ""
    yield f"Version {document['baseline']} (rows) to version {document['candidate']} (columns)"
    yield from _write_matrix(document["policy"])
    yield ""
    yield f"What stands (rows) to version {document['candidate']} (columns)"
    yield from _write_matrix(document["record"])
    yield ""
    yield document["changed"]["bias"]
    yield ""
    yield from _write_errors(document)
    yield from _write_queue(document["queue"])
    for row in document["spending"]:
        yield (
            f"{row['label']}: asked about {row['asked']['baseline']:,} images before,"
            f" {row['asked']['candidate']:,} after; {row['usd']['change']:+.2f} USD"
        )
    near = document["near"]
    yield f"Approvals within 5 points below a limit: {near['approvals']:,}"
    yield f"Rejections within 5 points above a limit: {near['rejections']:,}"
    yield ""
    yield document["basis"]


def _write_matrix(cells: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    by_pair = {(cell["old"], cell["new"]): cell["images"] for cell in cells}
    yield " " * 16 + "".join(f"{name:>16}" for name in NAMES.values())
    for old, name in NAMES.items():
        yield f"{name:<16}" + "".join(f"{by_pair[old, new]:>16,}" for new in NAMES)


def _write_errors(document: Document) -> Iterator[str]:
    titles = {"approvals": "Wrong approvals", "rejections": "Wrong rejections"}
    for kind, title in titles.items():
        for verdicts, basis in (("all", "by people's verdicts"), ("blind", "by audits alone")):
            rows = [
                row
                for row in document["errors"]
                if row["kind"] == kind and row["verdicts"] == verdicts
            ]
            if not rows:
                continue
            yield f"{title}, {basis}: before; after"
            for row in rows:
                before, after = describe_share(row["baseline"]), describe_share(row["candidate"])
                yield f"  {name_category(row['category'])}: {before}; {after}"
            yield ""


def _write_queue(queue: Mapping[str, Any]) -> Iterator[str]:
    per_day, hours = queue["images_per_day"], queue["hours_per_day"]
    yield (
        f"Images a day to people: {per_day['baseline']:.1f} before, {per_day['candidate']:.1f}"
        f" after ({per_day['change']:+.1f})"
    )
    if hours is None:
        yield "Hours a day: not known, because no decision has a known time on screen"
    else:
        yield (
            f"Hours a day: {hours['baseline']:.2f} before, {hours['candidate']:.2f} after"
            f" ({hours['change']:+.2f}), at a median of {queue['median_seconds']:.1f} s on screen"
            f" in {queue['timed_decisions']:,} decisions"
        )
