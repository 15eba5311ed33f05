"""Context of the pages of trials, and the same figures as JSON and as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.db.models import Count
from django.urls import reverse

from moderation import taxonomy
from moderation.forms.trials import TrialForm
from moderation.judgement.estimates import estimate_wilson
from moderation.models import Policy, PolicyTrial, Review, TrialJudgement
from moderation.models.policy_trials import OUTCOMES
from moderation.presenters.charts import IntervalDots, IntervalRow, Tone
from moderation.presenters.policies import build_head
from moderation.services import trials
from moderation.services.trial_counts import ANY, NEAR_APPROVALS, NEAR_REJECTIONS, name_cell

if TYPE_CHECKING:
    from django.contrib.auth.models import User

Document = Mapping[str, Any]
NAMES = dict(OUTCOMES)
STRICTNESS = ("approve", "blur", "person", "reject")  # the mildest first
TAB = "Try it"
SHOWN = 30  # trials of a version
TILES = 24  # images of a page
ANSWERS = (("right", "Right", "r"), ("wrong", "Wrong", "w"), ("unsure", "Unsure", "u"))
_WORDS = {
    "approve": "approved",
    "blur": "approved blurred",
    "person": "to a person",
    "reject": "rejected",
}
_NEAR = {
    NEAR_APPROVALS: "Approvals within 5 points below a limit",
    NEAR_REJECTIONS: "Rejections within 5 points above a limit",
}


def build_document(*, candidate: int, baseline: int, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a trial for programs, without the primary keys of images."""
    kept = {name: value for name, value in figures.items() if name != "kept"}
    return {"candidate": candidate, "baseline": baseline, **kept}


def name_category(slug: str) -> str:
    return "All categories" if slug == ANY else taxonomy.join_names([slug])


def describe_share(row: Mapping[str, Any]) -> str:
    """Return a share with its interval in words."""
    if row["value"] is None:
        return "not known: no verdicts"
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
    yield f"Present verdicts (rows) to version {document['candidate']} (columns)"
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


# --- Pages ---
def build_list(policy: Policy, user: User, form: TrialForm, *, problem: str = "") -> dict[str, Any]:
    """Build the context of the trials of a version."""
    rows = policy.trials.select_related("baseline", "started_by")
    return {
        **build_head(policy, user, TAB),
        "trials": rows.defer("counts", "plan", "sample", "result").order_by("-pk")[:SHOWN],
        "form": form,
        "problem": problem,
    }


def build_trial_document(trial: PolicyTrial) -> dict[str, Any]:
    """Return a trial for programs: its result or, without one, the figures of its sample."""
    return {
        **build_document(
            candidate=trial.candidate.version,
            baseline=trial.baseline.version,
            figures=trial.result or trial.sample,
        ),
        "status": trial.status,
        "judgements": count_judgements(trial),
    }


def count_judgements(trial: PolicyTrial) -> list[dict[str, Any]]:
    """Return people's answers by change, with the share of right ones and its interval."""
    rows = trial.judgements.values("cell", "answer").annotate(number=Count("pk"))
    by_cell: dict[str, dict[str, int]] = {}
    for row in rows:
        by_cell.setdefault(row["cell"], {})[row["answer"]] = row["number"]
    found = []
    for cell, answers in sorted(by_cell.items()):
        right, wrong = answers.get("right", 0), answers.get("wrong", 0)
        share = estimate_wilson(right, right + wrong, minimum=1)
        found.append(
            {
                "cell": cell,
                "right": right,
                "wrong": wrong,
                "unsure": answers.get("unsure", 0),
                "value": share.value,
                "low": share.low,
                "high": share.high,
            }
        )
    return found


def build_page(trial: PolicyTrial, user: User) -> dict[str, Any]:
    """Build the context of one trial."""
    figures = trial.result or trial.sample
    is_sample = figures["images"] < figures["expected"]
    before, after = trial.baseline.version, trial.candidate.version
    titles = {
        "policy": (f"Version {before} against version {after}", f"Version {before}"),
        "record": (f"Present verdicts against version {after}", "Present verdict"),
    }
    return {
        **build_head(trial.candidate, user, TAB),
        "trial": trial,
        "figures": figures,
        "headline": build_headline(figures),
        "is_sample": is_sample,
        "is_running": trial.status == PolicyTrial.Status.RUNNING,
        "percent": min(100, 100 * trial.images // trial.expected) if trial.expected else 100,
        "matrices": [
            build_matrix(
                title,
                slug=f"matrix-{kind}",
                names=(old, f"Version {after}"),
                cells=_list_cells(trial, figures, kind, is_sample=is_sample),
            )
            for kind, (title, old) in titles.items()
        ],
        "charts": list(_build_error_charts(trial, figures)),
        "near": [
            (title, figures["near"][key.removeprefix("near-")], get_images_url(trial, key))
            for key, title in _NEAR.items()
        ],
        "spending": [
            {**row, "change": format_change(row["usd"]["change"], 2)} for row in figures["spending"]
        ],
        "judgements": [
            {
                **row,
                "name": name_change(row["cell"]),
                "url": get_images_url(trial, row["cell"]),
                "share": _describe_answers(row),
            }
            for row in count_judgements(trial)
        ],
    }


def format_change(value: float, digits: int = 1) -> str:
    """Return a difference with its sign; "0" if it rounds to nothing."""
    text = f"{value:+,.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return text if text.strip("+\N{MINUS SIGN}0.") else "0"


def build_headline(figures: Document) -> dict[str, Any]:
    """Return what would change in one sentence and its figures."""
    queue = figures["queue"]
    change, hours = queue["images_per_day"]["change"], queue["hours_per_day"]
    rejected = [row for row in figures["verdicts"] if row["new"] == "reject"]
    approved = [row for row in figures["verdicts"] if row["new"] in ("approve", "blur")]
    wrong_rejections = sum(row["images"] for row in rejected if row["verdict"] != "reject")
    wrong_approvals = sum(row["images"] for row in approved if _is_let_through(row))
    known = sum(row["images"] for row in figures["verdicts"])
    parts = [_describe_queue_change(change, None if hours is None else hours["change"])]
    if known:
        parts.append(
            f"people\u2019s verdicts contradict {wrong_rejections:,} new"
            f" rejection{'' if wrong_rejections == 1 else 's'} and {wrong_approvals:,} new"
            f" approval{'' if wrong_approvals == 1 else 's'}"
        )
    else:
        parts.append("no person\u2019s verdict says whether the changes are right")
    is_same = not figures["changed"]["images"]
    return {
        "sentence": "Nothing would change." if is_same else f"{'; '.join(parts)}.",
        "people": format_change(change, _choose_digits(change)),
        "hours": None if hours is None else format_change(hours["change"]),
        "wrong_rejections": wrong_rejections,
        "new_rejections": sum(row["images"] for row in rejected),
        "wrong_approvals": wrong_approvals,
        "new_approvals": sum(row["images"] for row in approved),
    }


def _choose_digits(number: float) -> int:
    return 0 if abs(number) >= 10 else 1


def _is_let_through(row: Mapping[str, Any]) -> bool:
    """Return whether an approval lets through what a person rejected or had blurred."""
    wrong = ("reject",) if row["new"] == "blur" else ("reject", "blur")
    return row["verdict"] in wrong


def _describe_queue_change(change: float, hours: float | None) -> str:
    if format_change(change) == "0":
        return "As many images a day would go to people"
    word = "more" if change > 0 else "fewer"
    spent = "" if hours is None else f" ({format_change(hours)} h)"
    return (
        f"{abs(change):,.{_choose_digits(change)}f} {word} images a day would go to people{spent}"
    )


def _describe_answers(row: Mapping[str, Any]) -> str:
    return describe_share({**row, "wrong": row["right"], "n": row["right"] + row["wrong"]})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The images that change from one outcome to another."""

    old: str
    new: str
    images: int
    projected: Mapping[str, int] | None = None
    url: str = ""
    strength: int = 0  # 1 to 3: its size among the changes

    @property
    def name(self) -> str:
        return f"{NAMES[self.old]} → {_WORDS[self.new]}"

    @property
    def heading(self) -> str:
        return NAMES[self.new]

    @property
    def shift(self) -> str:
        """Return the direction of the change in one word."""
        old, new = STRICTNESS.index(self.old), STRICTNESS.index(self.new)
        return "same" if old == new else "stricter" if new > old else "milder"


def build_matrix(
    title: str, *, slug: str, names: tuple[str, str], cells: Iterable[Cell]
) -> dict[str, Any]:
    """Build the context of a matrix of outcomes; ``names`` are those of its rows and columns."""
    given = list(cells)
    most = max((cell.images for cell in given if cell.shift != "same"), default=0)
    graded = [
        replace(cell, strength=-(-3 * cell.images // most) if cell.shift != "same" else 0)
        if most
        else cell
        for cell in given
    ]
    return {
        "title": title,
        "slug": slug,
        "names": names,
        "outcomes": list(NAMES.values()),
        "rows": [
            {"name": name, "cells": [cell for cell in graded if cell.old == old]}
            for old, name in NAMES.items()
        ],
        "shifts": {
            shift: sum(cell.images for cell in given if cell.shift == shift)
            for shift in ("stricter", "milder")
        },
    }


def _list_cells(
    trial: PolicyTrial, figures: Document, kind: str, *, is_sample: bool
) -> Iterator[Cell]:
    """Yield the cells of a matrix; changes link to their images."""
    for row in figures[kind]:
        key = name_cell(kind, row["old"], row["new"])
        has_images = row["old"] != row["new"] and key in figures["kept"]
        yield Cell(
            old=row["old"],
            new=row["new"],
            images=row["images"],
            projected=row["projected"] if is_sample and row["images"] else None,
            url=get_images_url(trial, key) if has_images else "",
        )


def _build_error_charts(trial: PolicyTrial, figures: Document) -> Iterator[IntervalDots]:
    """Yield the shares of wrong approvals and rejections, with the audits alone last."""
    titles = {
        ("approvals", "all"): "Wrong approvals",
        ("rejections", "all"): "Wrong rejections",
        ("approvals", "blind"): "Wrong approvals, by blind audits alone",
        ("rejections", "blind"): "Wrong rejections, by blind audits alone",
    }
    versions = {
        "baseline": (trial.baseline.version, Tone.MUTED),
        "candidate": (trial.candidate.version, Tone.ACCENT),
    }
    for (kind, verdicts), title in titles.items():
        found = [
            row for row in figures["errors"] if (row["kind"], row["verdicts"]) == (kind, verdicts)
        ]
        if not found:
            continue
        before, after = (describe_share(found[0][policy]) for policy in versions)
        yield IntervalDots(
            name=f"{kind}-{verdicts}",
            title=title,
            summary=(
                f"All categories: {before} with version {trial.baseline.version}, {after} with"
                f" version {trial.candidate.version}."
            ),
            rows=[
                IntervalRow(
                    f"{name_category(row['category'])}, v{version}",
                    row[policy]["value"],
                    row[policy]["low"],
                    row[policy]["high"],
                    row[policy]["n"],
                    tone=tone,
                )
                for row in found
                for policy, (version, tone) in versions.items()
            ],
        )


def name_change(cell: str) -> str:
    """Return a cell in words, for example "To a person → approved"."""
    if cell in _NEAR:
        return _NEAR[cell]
    _, old, new = cell.split("-")
    return f"{NAMES[old]} → {_WORDS[new]}"


def get_images_url(trial: PolicyTrial, cell: str, page: str = "") -> str:
    query = urlencode({"cell": cell} | ({"page": page} if page not in ("", "1") else {}))
    return f"{reverse('moderation:policy-trial-images', args=[trial.uuid])}?{query}"


# --- The contact sheet ---
def is_hidden(review: Review, user: User) -> bool:
    """Return whether a person may not see what policies do with this image.

    It waits for a blind check that this person could be given, or they requested it.
    """
    may_decide = user.has_perm("moderation.decide_review")
    return (may_decide and review.wants_opinion_of(user)) or review.is_own_request_of(user)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """An image of a change, with the person's answer."""

    review: Review
    answer: str


def build_images(trial: PolicyTrial, user: User, cell: str, number: int) -> dict[str, Any] | None:
    """Build the context of the images of a change; None for a change without any."""
    kept = trials.find_kept(trial).get(cell)
    if not kept:
        return None
    rows = Review.objects.only(
        "pk", "status", "second_opinion", "decided_by", "requested_by"
    ).in_bulk(kept)
    shown = [pk for pk in kept if pk in rows and not is_hidden(rows[pk], user)]
    last = max(1, -(-len(shown) // TILES))
    number = min(max(number, 1), last)
    keys = shown[(number - 1) * TILES : number * TILES]
    reviews = Review.objects.for_tiles().in_bulk(keys)
    answers = dict(
        TrialJudgement.objects.filter(trial=trial, person=user, review__in=keys).values_list(
            "review", "answer"
        )
    )
    figures = trial.result or trial.sample
    return {
        **build_head(trial.candidate, user, TAB),
        "trial": trial,
        "cell": cell,
        "change": name_change(cell),
        "tiles": [Tile(review=reviews[pk], answer=answers.get(pk, "")) for pk in keys],
        "answers": ANSWERS,
        "count": len(shown),
        "total": _count_cell(figures, cell),
        "kept": len(kept),
        "left_out": len(kept) - len(shown),
        "page": number,
        "last": last,
        "previous": get_images_url(trial, cell, str(number - 1)) if number > 1 else "",
        "next": get_images_url(trial, cell, str(number + 1)) if number < last else "",
        "judged": next((row for row in count_judgements(trial) if row["cell"] == cell), None),
    }


def _count_cell(figures: Mapping[str, Any], cell: str) -> int:
    if cell in _NEAR:
        return int(figures["near"][cell.removeprefix("near-")])
    kind, old, new = cell.split("-")
    return sum(row["images"] for row in figures[kind] if (row["old"], row["new"]) == (old, new))


def build_tile(trial: PolicyTrial, review: Review, cell: str, answer: str) -> dict[str, Any]:
    """Build the context of one tile after its answer."""
    return {
        "trial": trial,
        "cell": cell,
        "tile": Tile(review=review, answer=answer),
        "answers": ANSWERS,
        "page": 1,
    }
