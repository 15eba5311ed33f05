"""Contexts of the traces: their page, and the list on the dossier of an image."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.utils import timezone

from generation.core.db import keyset
from generation.models import Asset
from moderation.models import AccessTrace
from moderation.services import traces

if TYPE_CHECKING:
    from moderation.forms.traces import TraceFilterForm

LENGTH = 50
SHOWN = 20  # on a dossier
Kind = AccessTrace.Kind


def build_traces(form: TraceFilterForm, before: int | None) -> dict[str, Any]:
    rows = AccessTrace.objects.select_related("asset", "end")
    rows = _filter(rows, form.cleaned_data) if form.is_valid() else rows.none()
    if before is not None:
        rows = keyset.rows_after(rows, ("-pk",), (before,))
    found, has_older = keyset.read_page(rows.order_by("-pk"), LENGTH)
    given = {name: value for name, value in form.data.items() if value and name in form.fields}
    return {
        "form": form,
        "traces": [(row, describe(row)) for row in found],
        "older": found[-1].pk if has_older else None,
        "filters": urlencode(given),
        "excess": traces.find_excess(timezone.now() - timedelta(days=1)),
    }


def _filter(rows: Any, values: Mapping[str, Any]) -> Any:
    if values["person"]:
        rows = rows.filter(person_name__iexact=values["person"])
    if values["kind"]:
        rows = rows.filter(kind=values["kind"])
    if values["day"]:
        start = datetime.combine(values["day"], datetime.min.time(), UTC)
        rows = rows.filter(created_at__gte=start, created_at__lt=start + timedelta(days=1))
    return rows


def list_of_asset(asset: Asset) -> list[AccessTrace]:
    """Return the newest traces of one image."""
    return list(AccessTrace.objects.filter(asset=asset).order_by("-pk")[:SHOWN])


def describe(row: AccessTrace) -> str:
    """Return what a trace is about, besides its image."""
    details = row.details
    if row.kind == Kind.REFUSED:
        return f"Limit {details.get('limit')}"
    if row.kind not in (Kind.EXPORT, Kind.EXPORT_END):
        return ""
    filters = details.get("filters") or {}
    chosen = ", ".join(f"{name}: {value}" for name, value in filters.items()) or "no filter"
    text = f"{details.get('export')} as {details.get('format')}, {chosen}"
    if row.kind == Kind.EXPORT:
        return text if hasattr(row, "end") else f"{text}; not ended yet, or the process ended"
    state = "complete" if row.is_complete else "interrupted"
    return f"{text}; {row.rows} rows, {state}, SHA-256 {row.sha256}"
