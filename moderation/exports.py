"""Decisions as CSV: streamed, filtered, and safe to open in a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.contrib.auth.decorators import permission_required
from django.core.exceptions import BadRequest
from django.forms import Form
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from generation.models import Asset
from moderation import taxonomy
from moderation.models import Decision, NamedCategory
from moderation.models.decisions import DecisionQuerySet

# What a spreadsheet may take for a formula or a command, plain or in its full-width form, wherever blanks or zero-width
# characters put it out of sight (OWASP, "CSV Injection"; ASVS 5.0 1.2.10).
TRIGGERS = tuple("=+-@|%＝＋－＠｜％\t\r\n")
INVISIBLE = " \u00a0\u200b\u200c\u200d\u2060\ufeff\u3000"
FEW = 1000  # assets that may be named one by one in a query

Column = tuple[str, Callable[[Decision], Any]]
COLUMNS: tuple[Column, ...] = (
    ("sequence", lambda d: d.sequence),
    ("decision", lambda d: d.uuid),
    ("decided_at", lambda d: d.created_at.astimezone(UTC).isoformat(timespec="milliseconds")),
    ("verdict", lambda d: d.verdict),
    ("categories", lambda d: " ".join(d.categories)),
    ("category_names", lambda d: taxonomy.names(d.categories)),
    ("note", lambda d: d.note),
    ("reviewer", lambda d: d.reviewer_name),
    ("by_policy", lambda d: "yes" if d.by_policy else "no"),
    ("policy_version", lambda d: d.policy.version if d.policy else ""),
    ("seconds", lambda d: "" if d.seconds is None else d.seconds),
    ("reverses", lambda d: d.reverses.uuid if d.reverses else ""),
    ("asset", lambda d: d.review.asset.uuid),
    ("asset_sha256", lambda d: d.review.asset.sha256),
    ("source", lambda d: d.review.asset.source),
    ("file_name", lambda d: d.review.asset.original_name),
    ("headline", lambda d: d.review.headline),
    ("headline_confidence", lambda d: "" if d.review.headline_confidence is None else d.review.headline_confidence),
    ("why", lambda d: d.review.why),
    ("request", lambda d: _request(d.review.asset, "uuid")),
    ("provider", lambda d: _request(d.review.asset, "provider")),
    ("model", lambda d: _request(d.review.asset, "model_name")),
    # The image's own where the provider tells it: siblings share their request's.
    ("seed", lambda d: _request(d.review.asset, "seed") if d.review.asset.seed is None else d.review.asset.seed),
    ("prompt", lambda d: _request(d.review.asset, "prompt")),
    ("negative_prompt", lambda d: _request(d.review.asset, "negative_prompt")),
    ("hash", lambda d: d.hash),
)


def _request(asset: Asset, field: str) -> Any:
    return getattr(asset.request, field) if asset.request else ""


def cell(value: Any) -> str:
    """Text that no spreadsheet takes for a formula. Numbers stay numbers; the mark in front is a plain apostrophe."""
    text = str(value).replace("\0", "")
    if isinstance(value, str) and (text.startswith(TRIGGERS) or text.lstrip(INVISIBLE).startswith(TRIGGERS)):
        return f"'{text}"
    return text


def filter_decisions(filters: dict[str, Any]) -> DecisionQuerySet:
    """Decisions matching what ``DecisionFilterForm`` cleaned; absent and empty filters match everything."""
    rows = Decision.objects.all()
    start, end = filters.get("start"), filters.get("end")
    if start:
        rows = rows.filter(created_at__gte=_midnight(start))
    if end:
        rows = rows.filter(created_at__lt=_midnight(end + timedelta(days=1)))
    if verdict := filters.get("verdict"):
        rows = rows.filter(verdict=verdict)
    if category := filters.get("category"):
        rows = _naming(rows, category)
    if reviewer := filters.get("reviewer"):
        rows = rows.filter(reviewer_name=reviewer)
    if by := filters.get("by"):
        rows = rows.filter(by_policy=by == "policy")
    return rows


def _naming(rows: DecisionQuerySet, category: str) -> DecisionQuerySet:
    """Those that name a category; an L1 also finds its L2s."""
    slugs = [category, *(child.slug for child in taxonomy.children(category))]
    named = NamedCategory.objects.filter(category__in=slugs).values_list("asset_id", flat=True)
    few = list(named[: FEW + 1])
    if len(few) <= FEW:
        # By index, where the text search below would read the whole record for a handful of rows.
        rows = rows.filter(review__asset__in=few)
    # Stored as a JSON list of slugs: the slug opens with a quote, and an L2's goes on with a dot.
    exact = rows.filter(categories__icontains=f'"{category}"')
    return exact | rows.filter(categories__icontains=f'"{category}.') if len(slugs) > 1 else exact


def complaints(form: Form, *, prefix: str = "") -> str:
    """What is wrong with a filter, field by field, as one line."""
    return "; ".join(f"{prefix}{name}: {' '.join(map(str, errors))}" for name, errors in form.errors.items())


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=UTC)


class _Echo:
    def write(self, value: str) -> str:
        return value


def csv_lines(decisions: DecisionQuerySet) -> Iterator[str]:
    """Header and one line per decision, oldest first, read in chunks so that the whole never sits in memory."""
    writer = csv.writer(_Echo(), quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    # The mark at the start tells spreadsheets that this is UTF-8.
    yield "\ufeff" + writer.writerow([name for name, _ in COLUMNS])
    rows = decisions.select_related("policy", "reverses", "review__asset__request").order_by("sequence")
    for decision in rows.iterator(chunk_size=500):
        yield writer.writerow([cell(value(decision)) for _, value in COLUMNS])


def _batched(lines: Iterable[str], size: int = 100) -> Iterator[bytes]:
    """Join lines into pieces worth sending; one write per line would cost more than making it."""
    piece: list[str] = []
    for line in lines:
        piece.append(line)
        if len(piece) >= size:
            yield "".join(piece).encode()
            piece.clear()
    yield "".join(piece).encode()


@require_GET
@permission_required("moderation.export_decision", raise_exception=True)
def decisions_csv(request: HttpRequest) -> StreamingHttpResponse:
    """The filtered record. An unknown filter value is an error: a wider export than asked for would be a leak."""
    from moderation.forms import DecisionFilterForm

    form = DecisionFilterForm(request.GET)
    if not form.is_valid():
        raise BadRequest(complaints(form))
    response = StreamingHttpResponse(
        _batched(csv_lines(filter_decisions(form.cleaned_data))), content_type="text/csv; charset=utf-8"
    )
    name = f"loupe-decisions-{timezone.now():%Y%m%d-%H%M%S}.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
