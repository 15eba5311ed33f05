"""Context of the pages of prompt trials, and the same figures as JSON and as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from django.urls import reverse

from generation.models import GenerationRequest
from moderation.forms.prompt_trials import PromptTrialForm
from moderation.models import PromptTrial, Review
from moderation.presenters import insights
from moderation.presenters.charts.formats import format_share
from moderation.presenters.trials import is_hidden

if TYPE_CHECKING:
    from django.contrib.auth.models import User

LISTED: Final = 50
EXAMPLES: Final = 10
PROMPT_SHOWN: Final = 200  # characters
URL_NAME: Final = "moderation:prompt-trial-list"
BASIS: Final = (
    "Costs are those that were paid. Looks are people's decisions that were made on these images."
    " An image that waits has no outcome yet and counts as neither. The images of one request share"
    " a prompt, so the intervals are rather too narrow. People who are refused write other words:"
    " a rule in force would save less."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share with its interval, in words."""

    hits: int
    n: int
    value: str
    interval: str

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Share:
        if row["value"] is None:
            return cls(hits=row["hits"], n=row["n"], value="not known", interval="none is decided")
        return cls(
            hits=row["hits"],
            n=row["n"],
            value=format_share(row["value"]),
            interval=f"{format_share(row['low'])} to {format_share(row['high'])}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TermRow:
    """A word or phrase of the rule with its share of the figures."""

    term: str
    requests: int
    only: int
    images: int
    approved: int
    rejected: int
    usd: str
    lost: Share
    url: str  # approved images with this term, in the search


def format_amount(usd: float) -> str:
    """Return an amount without its unit; small ones with four decimals: an image costs less."""
    return f"{usd:,.2f}" if usd >= 10 or not usd else f"{usd:,.4f}"


def build_list(form: PromptTrialForm, problem: str = "") -> dict[str, Any]:
    """Build the context of the page that lists and starts trials."""
    rows = PromptTrial.objects.select_related("started_by").order_by("-pk")
    lean = rows.defer("counts", "sample", "result")
    return {
        "tabs": insights.list_tabs(URL_NAME),
        "form": form,
        "problem": problem,
        "trials": list(lean[:LISTED]),
    }


def get_initial(uuid: Any) -> dict[str, Any]:
    """Return the rule of an earlier trial, to change it and try again."""
    trial = PromptTrial.objects.filter(uuid=uuid).first()
    if trial is None:
        return {}
    return {"rule": trial.rule, "allowed": trial.allowed, "days": trial.days}


def build_page(trial: PromptTrial, user: User) -> dict[str, Any]:
    """Build the context of the page of one trial."""
    figures = trial.result or trial.sample
    requests = figures["requests"]
    may_see_images = user.has_perm("generation.view_asset")
    return {
        "tabs": insights.list_tabs(URL_NAME),
        "trial": trial,
        "figures": figures,
        "is_running": trial.status == PromptTrial.Status.RUNNING,
        "is_sample": requests["counted"] < requests["expected"],
        "usd": {name: format_amount(value) for name, value in figures["usd"].items()},
        "blocked": Share.of(requests["blocked"]),
        "lost": Share.of(figures["lost"]),
        "lost_of_approved": Share.of(figures["lost_of_approved"]),
        "prevented": Share.of(figures["prevented_of_rejected"]),
        "terms": [_build_term(row, figures, may_see_images) for row in figures["terms"]],
        "images": _list_images(figures, user) if may_see_images else [],
        "examples": _list_examples(figures),
        "basis": BASIS,
    }


def _build_term(row: Mapping[str, Any], figures: Mapping[str, Any], may_see: bool) -> TermRow:
    since = datetime.fromisoformat(figures["since"]).date()
    text = row["term"]
    words = f'"{text[:-1]}"*' if text.endswith("*") else f'"{text}"'
    query = urlencode({"q": words, "status": "approved", "start": since.isoformat()})
    values = {name: value for name, value in row.items() if name not in ("lost", "usd")}
    return TermRow(
        **values,
        usd=format_amount(row["usd"]),
        lost=Share.of(row["lost"]),
        url=f"{reverse('moderation:search')}?{query}" if may_see else "",
    )


def _list_images(figures: Mapping[str, Any], user: User) -> list[Review]:
    """Return the newest approved images that would have been lost, without those judged blind."""
    rows = Review.objects.for_tiles().filter(
        pk__in=figures["kept"]["lost"], status=Review.Status.APPROVED
    )
    return [review for review in rows.order_by("-pk") if not is_hidden(review, user)]


def _list_examples(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = GenerationRequest.objects.filter(pk__in=figures["kept"]["examples"])
    newest = rows.order_by("-pk").only("uuid", "prompt", "status", "created_at")[:EXAMPLES]
    return [{"request": row, "prompt": row.prompt[:PROMPT_SHOWN]} for row in newest]


# --- For programs ---
def build_document(
    *, rule: str, allowed: str, figures: Mapping[str, Any], status: str = "finished"
) -> dict[str, Any]:
    """Return the figures for programs, without the primary keys of rows."""
    kept = {name: value for name, value in figures.items() if name != "kept"}
    return {"status": status, "rule": rule, "allowed": allowed, **kept, "basis": BASIS}


def describe(document: Mapping[str, Any]) -> str:
    """Return the figures as text for a terminal."""
    return "\n".join(_write_lines(document)) + "\n"


def _write_lines(document: Mapping[str, Any]) -> Iterator[str]:
    requests, images, usd = document["requests"], document["images"], document["usd"]
    looks, lost = document["looks"], Share.of(document["lost"])
    blocked, prevented = Share.of(requests["blocked"]), Share.of(document["prevented_of_rejected"])
    if requests["counted"] < requests["expected"]:
        yield f"A random sample of {requests['counted']:,} of {requests['expected']:,} requests."
    yield f"Requests of the last {document['days']} days: {requests['counted']:,}"
    yield f"Blocked: {blocked.hits:,} ({blocked.value}, {blocked.interval})"
    yield (
        f"Saved: {usd['saved']:.4f} USD, of it {usd['generation']:.4f} for generation"
        f" and {usd['classifiers']:.4f} for classifiers"
    )
    hours = "not known" if looks["hours"] is None else f"{looks['hours']:.2f} h"
    yield f"Looks of people saved: {looks['saved']:,} ({hours})"
    yield f"Rejected images prevented: {prevented.hits:,} of {prevented.n:,} ({prevented.value})"
    yield (
        f"Approved images lost: {lost.hits:,} of {lost.n:,} decided ({lost.value}, {lost.interval})"
    )
    yield (
        f"Without outcome: {images['waiting']:,} images,"
        f" {requests['without_image']:,} requests without an image"
    )
    yield ""
    for row in document["terms"]:
        yield (
            f"{row['term']}: {row['requests']:,} requests, {row['only']:,} only because of it,"
            f" {row['approved']:,} approved and {row['rejected']:,} rejected images,"
            f" {row['usd']:.4f} USD"
        )
    yield ""
    yield document["basis"]
