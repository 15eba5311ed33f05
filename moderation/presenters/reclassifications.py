"""Context of the pages to run classifiers again, and of new findings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from moderation import classifiers
from moderation.forms.reclassifications import ReclassificationForm
from moderation.models import Classification, NewFinding, Reclassification
from moderation.services import reclassification
from moderation.services.reclassification import Estimate, Selection

SHOWN = 50
RunStatus = Classification.Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An order with its progress."""

    order: Reclassification
    runs: Counter[str]

    @property
    def about(self) -> str:
        """Return the images and the classifiers in words."""
        selection = Selection.of(self.order)
        target = {
            Reclassification.Scope.IMAGES: f": {len(selection.target)}",
            Reclassification.Scope.QUEUE: f": {', '.join(selection.target)}",
        }.get(selection.scope, "")
        names = ", ".join(classifiers.label(slug) for slug in selection.classifiers)
        return self.order.get_scope_display() + target + (f"; only {names}" if names else "")

    @property
    def progress(self) -> str:
        """Return the counts of runs in words."""
        words = {
            RunStatus.QUEUED: "queued",
            RunStatus.DONE: "done",
            RunStatus.FAILED: "failed",
        }
        return ", ".join(
            f"{self.runs[status]:,} {word}" for status, word in words.items() if self.runs[status]
        )

    @property
    def state(self) -> tuple[str, str]:
        """Return the colour of the badge and its text. A running order with a note waits."""
        match self.order.status:
            case Reclassification.Status.RUNNING if self.order.note:
                return "queued", "Waiting"
            case Reclassification.Status.RUNNING:
                return "processing", "Running"
            case Reclassification.Status.FINISHED:
                return "succeeded", "Finished"
        return "cancelled", "Cancelled"

    @property
    def remark(self) -> str:
        """Return why the order waits, or what a cancelled order has left to do."""
        still = self.runs[RunStatus.QUEUED]
        if still and self.order.status == Reclassification.Status.CANCELLED:
            return f"{still:,} scheduled before still run{'s' if still == 1 else ''}."
        return self.order.note

    @property
    def is_running(self) -> bool:
        return self.order.status == Reclassification.Status.RUNNING


def build_list() -> dict[str, Any]:
    orders = list(Reclassification.objects.order_by("-pk").select_related("ordered_by")[:SHOWN])
    runs = reclassification.count_runs(orders)
    return {"entries": [Entry(order=order, runs=runs[order.pk]) for order in orders]}


def build_form(
    *, form: ReclassificationForm, estimate: Estimate | None, problem: str
) -> dict[str, Any]:
    per_minute = form.cleaned_data.get("per_minute") if estimate else None
    return {
        "form": form,
        "assets": form.assets,
        "estimate": estimate,
        "minutes": estimate.count_minutes(per_minute) if estimate and per_minute else 0,
        "problem": problem,
        "order": uuid4(),
    }


def build_findings() -> dict[str, Any]:
    """Build the context of the newest findings that nobody has seen."""
    rows = NewFinding.objects.filter(seen_at__isnull=True).order_by("-created_at")
    return {"findings": rows.select_related("review__asset__request")[:SHOWN]}
