"""Look up further columns for a batch of rows: decisions in effect, and the evidence.

Each lookup takes one to three queries for a batch. Only exports that contain its columns pay for
it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any, Protocol

from generation.models import GenerationRequest
from generation.wire import field_map
from moderation.models import Classification, Label
from moderation.services.exports.columns import LookupColumn
from moderation.services.exports.filters import deciding

Cells = tuple[Any, ...]


class Lookup(Protocol):
    """Columns that are looked up by a key of the row."""

    @property
    def key(self) -> str:
        """The field path of the key, from the review."""

    @property
    def columns(self) -> tuple[LookupColumn, ...]: ...

    def load(self, keys: Collection[int]) -> Mapping[int, Cells]:
        """Return the cells by key. A key without cells may be missing."""


class DecisionInEffect:
    """The newest decision in effect of each image."""

    key = "pk"
    columns = (
        LookupColumn("decision", "uuid"),
        LookupColumn("decided_at", "timestamp"),
        LookupColumn("verdict", "code"),
        LookupColumn("categories", "slugs"),
        LookupColumn("category_names", "names"),
        LookupColumn("note", "text"),
        LookupColumn("reviewer", "text"),
        LookupColumn("by_policy", "flag"),
    )

    def load(self, keys: Collection[int]) -> Mapping[int, Cells]:
        return {
            review: (
                decision.uuid,
                decision.created_at,
                decision.verdict,
                decision.categories,
                decision.categories,
                decision.note,
                decision.reviewer_name,
                decision.by_policy,
            )
            for review, decision in deciding().map_last_effective(keys).items()
        }


class RequestParameters:
    """The parameters of the request that generated the image."""

    key = "asset__request_id"
    columns = (
        LookupColumn("steps", "number"),
        LookupColumn("guidance_scale", "float"),
        LookupColumn("sampler", "text"),
        LookupColumn("requested_width", "number"),
        LookupColumn("requested_height", "number"),
        LookupColumn("loras", "loras"),
        LookupColumn("request_cost", "six"),
        LookupColumn("parameters", "object"),
    )
    # Columns of their own in every export.
    LEFT_OUT = ("prompt", "negative_prompt")

    def load(self, keys: Collection[int]) -> Mapping[int, Cells]:
        names = [name for name in field_map.NAMES if name not in self.LEFT_OUT]
        rows = GenerationRequest.objects.filter(pk__in=keys).values("pk", "cost", *names)
        return {
            row["pk"]: (
                row["steps"],
                row["guidance_scale"],
                row["sampler_name"],
                row["width"],
                row["height"],
                row["loras"],
                row["cost"],
                field_map.nest({name: row[name] for name in names}),
            )
            for row in rows
        }


class ClassifierResults:
    """The results of all classifiers, in the order in which they were created."""

    key = "asset_id"
    columns = (
        LookupColumn("labels", "lines"),
        LookupColumn("without_result", "lines"),
        LookupColumn("classification_cost", "six"),
        LookupColumn("classifications", "runs"),
    )
    FIELDS = (
        "classifier",
        "version",
        "status",
        "error",
        "flagged",
        "score",
        "covers",
        "cost",
        "duration_ms",
        "finished_at",
    )

    def load(self, keys: Collection[int]) -> Mapping[int, Cells]:
        runs = Classification.objects.filter(asset__in=keys).order_by("pk")
        rows = list(runs.values("pk", "asset_id", *self.FIELDS))
        labels = self._load_labels([row["pk"] for row in rows])
        grouped: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in rows:
            run = {name: row[name] for name in self.FIELDS} | {"labels": labels[row["pk"]]}
            grouped[row["asset_id"]].append(run)
        return {asset: self._build_cells(found) for asset, found in grouped.items()}

    def _load_labels(self, runs: Collection[int]) -> defaultdict[int, list[dict[str, Any]]]:
        found: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
        rows = Label.objects.filter(classification__in=runs).order_by("pk")
        for run, category, confidence, box in rows.values_list(
            "classification_id", "category", "confidence", "box"
        ):
            found[run].append({"category": category, "confidence": confidence, "box": box})
        return found

    def _build_cells(self, runs: list[dict[str, Any]]) -> Cells:
        labels = [
            _describe_label(run["classifier"], label) for run in runs for label in run["labels"]
        ]
        done = Classification.Status.DONE
        without = list(dict.fromkeys(run["classifier"] for run in runs if run["status"] != done))
        return labels, without, sum((run["cost"] for run in runs), Decimal(0)), runs


def _describe_label(classifier: str, label: Mapping[str, Any]) -> str:
    confidence = label["confidence"]
    number = "" if confidence is None else f" {confidence:.2f}"
    return f"{classifier}: {label['category']}{number}"


IN_EFFECT: tuple[Lookup, ...] = (DecisionInEffect(),)
EVIDENCE: tuple[Lookup, ...] = (RequestParameters(), ClassifierResults())
