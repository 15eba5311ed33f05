"""Figures of a trial: from counts to shares with intervals, rates and costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from moderation import classifiers, taxonomy
from moderation.judgement.estimates import Figure, estimate_wilson
from moderation.services import costs
from moderation.services.trial_counts import ANY, NEAR_APPROVALS, NEAR_REJECTIONS, OUTCOMES

Counts = Mapping[str, Any]
HOUR: Final = 3600  # seconds
BASIS: Final = (
    "Replayed on the stored results of classifiers. Matches of known images and the bounds of "
    "earned trust are those of now. A classifier that was not asked has no result: a trial shows "
    "what asking less changes, not what asking more would find."
)


def build_figures(counts: Counts, *, days: int, span: float, expected: int) -> dict[str, Any]:
    """Return the figures of finished counts as JSON.

    ``span`` is the part of the window that has images, in days. ``expected`` is the number of
    images in the window: with fewer images, the counts are those of a random sample.
    """
    images = counts["images"]
    return {
        "days": days,
        "images": images,
        "expected": expected,
        "basis": BASIS,
        "policy": list(_list_cells(counts, place=0, expected=expected)),
        "record": list(_list_cells(counts, place=1, expected=expected)),
        "changed": _describe_changed(counts),
        "verdicts": [
            {"old": old, "new": new, "verdict": verdict, "images": number}
            for (old, new, verdict), number in _split_keys(counts["verdicts"])
        ],
        "errors": list(_list_errors(counts["truth"])),
        "queue": _describe_queue(counts, span, expected),
        "spending": list(_list_spending(counts["asks"], images, expected)),
        "near": {
            "approvals": counts["near"].get(NEAR_APPROVALS, 0),
            "rejections": counts["near"].get(NEAR_REJECTIONS, 0),
        },
        "kept": counts["kept"],
    }


def _split_keys(counter: Mapping[str, int]) -> Iterator[tuple[list[str], int]]:
    for key, number in counter.items():
        yield key.split(" "), number


def _list_cells(counts: Counts, *, place: int, expected: int) -> Iterator[dict[str, Any]]:
    """Yield the images by old and new outcome; ``place`` is that of the old one in the keys."""
    found: dict[tuple[str, str], int] = {}
    for words, number in _split_keys(counts["cells"]):
        pair = (words[place], words[2])
        found[pair] = found.get(pair, 0) + number
    for old in OUTCOMES:
        for new in OUTCOMES:
            number = found.get((old.value, new.value), 0)
            share = estimate_wilson(number, counts["images"], minimum=1)
            yield {
                "old": old.value,
                "new": new.value,
                "images": number,
                "projected": _project(share, expected),
            }


def _project(share: Figure, expected: int) -> dict[str, int] | None:
    """Return the number of images in the whole window, with its interval; None without images."""
    if share.value is None or share.low is None or share.high is None:
        return None
    return {
        "value": round(share.value * expected),
        "low": round(share.low * expected),
        "high": round(share.high * expected),
    }


def _describe_changed(counts: Counts) -> dict[str, Any]:
    changed = counts["changed"]
    kinds = {kind: changed.get(kind, 0) for kind in ("blind", "influenced", "none")}
    total = sum(kinds.values())
    seen = kinds["blind"] + kinds["influenced"]
    if not total:
        bias = "No outcome changes."
    else:
        bias = (
            f"{_count_images(total)} would get another outcome. A person's verdict is known for"
            f" {seen:,} of them: {kinds['blind']:,} from blind audits, which are a random sample,"
            f" and {kinds['influenced']:,} made with the classifiers' results on screen, mostly of"
            f" images that a policy sent to people. For the other {kinds['none']:,} nothing here"
            " says which outcome is right."
        )
    return {"images": total, **kinds, "bias": bias}


def _count_images(number: int) -> str:
    return f"{number:,} image{'' if number == 1 else 's'}"


def _list_errors(truth: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """Yield wrong approvals and rejections by category, of all verdicts and of audits alone."""
    slugs = [ANY, *(category.slug for category in taxonomy.L1)]
    for kind in ("approvals", "rejections"):
        for slug in slugs:
            for verdicts in ("all", "blind"):
                rows = {
                    policy: _read_error(truth, f"{policy} {kind} {verdicts} {slug}")
                    for policy in ("baseline", "candidate")
                }
                if any(row["n"] for row in rows.values()):
                    yield {"kind": kind, "category": slug, "verdicts": verdicts, **rows}


def _read_error(truth: Mapping[str, int], place: str) -> dict[str, Any]:
    wrong, n = truth.get(f"{place} wrong", 0), truth.get(f"{place} all", 0)
    share = estimate_wilson(wrong, n, minimum=1)
    return {"wrong": wrong, "n": n, "value": share.value, "low": share.low, "high": share.high}


def _describe_queue(counts: Counts, span: float, expected: int) -> dict[str, Any]:
    """Return images and hours a day that go to people. Hours are null without known seconds."""
    images, scale = counts["images"], _find_scale(counts["images"], expected)
    before = after = 0
    for (old, _, new), number in _split_keys(counts["cells"]):
        before += number * (old == "person")
        after += number * (new == "person")
    median = find_median(counts["seconds"])
    per_day = {
        "baseline": before * scale / span,
        "candidate": after * scale / span,
        "change": (after - before) * scale / span,
    }
    return {
        "images": {"baseline": before, "candidate": after, "of": images},
        "images_per_day": per_day,
        "median_seconds": median,
        "timed_decisions": sum(counts["seconds"].values()),
        "hours_per_day": None
        if median is None
        else {name: value * median / HOUR for name, value in per_day.items()},
    }


def find_median(seconds: Mapping[str, int]) -> float | None:
    """Return the median of a histogram of decimals; None for an empty one."""
    total = sum(seconds.values())
    if not total:
        return None
    middle = ((total - 1) // 2, total // 2)
    found: list[Decimal] = []
    passed = 0
    for second, number in sorted((Decimal(text), number) for text, number in seconds.items()):
        found += [second for place in middle if passed <= place < passed + number]
        passed += number
    return float(sum(found, Decimal(0)) / 2)


def _list_spending(asks: Mapping[str, int], images: int, expected: int) -> Iterator[dict[str, Any]]:
    """Yield the costs of classifiers with an ask rule, in the whole window."""
    scale = _find_scale(images, expected)
    for slug in sorted({key.split(" ")[0] for key in asks}):
        price = costs.find_price(slug)
        asked = {name: asks.get(f"{slug} {name}", 0) for name in ("baseline", "candidate")}
        usd = {name: float(price.usd) * number * scale for name, number in asked.items()}
        yield {
            "classifier": slug,
            "label": classifiers.label(slug),
            "images": asks.get(f"{slug} images", 0),
            "asked": asked,
            "usd_per_image": float(price.usd),
            "is_measured": price.is_measured,
            "usd": {**usd, "change": usd["candidate"] - usd["baseline"]},
        }


def _find_scale(images: int, expected: int) -> float:
    return expected / images if images and images < expected else 1.0
