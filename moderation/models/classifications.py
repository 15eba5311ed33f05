"""Results of classifiers: one Classification per run, one Label per category found."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar, Self

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from generation.core.db.prepared.query import PreparedQuery
from generation.core.db.state_machine import DueModel, DueQuerySet, due_index
from generation.models import Asset, StateMachine
from moderation import taxonomy
from moderation.models.policies import AskRule
from moderation.models.reclassifications import Reclassification

PERCENT = [MinValueValidator(0), MaxValueValidator(100)]


class ClassificationQuerySet(DueQuerySet["Classification"]):
    def for_asset(self, asset: int) -> Self:
        """Return an asset's classifications in creation order, with their labels."""
        return self.filter(asset=asset).order_by("pk").prefetch_related("labels")

    def current_for_asset(self, asset: int) -> list[Classification]:
        """Return the newest run of each classifier on an asset; earlier versions are left out."""
        runs = _OF_ASSET.rows(asset=asset)
        models.prefetch_related_objects(runs, "labels")
        return _keep_newest(runs)

    def current_for_assets(self, assets: Collection[int]) -> dict[int, list[Classification]]:
        """Return the same for several assets, by asset."""
        found: dict[int, list[Classification]] = {}
        for run in self.filter(asset__in=assets).order_by("pk").prefetch_related("labels"):
            found.setdefault(run.asset_id, []).append(run)
        return {asset: _keep_newest(runs) for asset, runs in found.items()}

    def held(self) -> Self:
        """Return the queued rows that wait until classifiers of earlier stages have ended."""
        # The second condition is implied by the status. SQLite needs it to use the partial index.
        return self.filter(
            status=Classification.Status.QUEUED, due_at__isnull=True, finished_at__isnull=True
        )


class Classification(StateMachine, DueModel):
    """A run of one version of one classifier on one asset."""

    class Status(models.TextChoices):
        QUEUED = "queued", "Not checked yet"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        SKIPPED = "skipped", "Not asked"

    TRANSITIONS: ClassVar[dict[str, tuple[str, ...]]] = {
        Status.QUEUED: (Status.DONE, Status.FAILED, Status.SKIPPED),
        Status.DONE: (Status.QUEUED,),
        Status.FAILED: (Status.QUEUED,),
        Status.SKIPPED: (Status.QUEUED,),
    }

    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="classifications")
    classifier = models.CharField(max_length=40)
    version = models.CharField(max_length=80)
    status = models.CharField(max_length=7, choices=Status, default=Status.QUEUED)
    flagged = models.BooleanField(
        null=True, help_text="Verdict of the classifier, if it gives one."
    )
    score = models.DecimalField(
        max_digits=5, decimal_places=2, null=True, blank=True, validators=PERCENT
    )
    covers = models.JSONField(
        default=dict, help_text="L1 categories that it covers, and how completely."
    )
    cost = models.DecimalField(max_digits=10, decimal_places=6, default=0, help_text="USD")
    duration_ms = models.PositiveIntegerField("duration (ms)", null=True, blank=True)
    raw = models.JSONField(default=dict)
    error = models.TextField(blank=True, help_text="Why it failed, or why it was not asked.")
    # The rule by which it was not asked.
    skipped_by = models.ForeignKey(
        AskRule,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="skipped",
        db_index=False,
        editable=False,
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True, blank=True)
    # The last order to run it again.
    reclassification = models.ForeignKey(
        Reclassification,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="runs",
        db_index=False,
        editable=False,
    )

    objects = ClassificationQuerySet.as_manager()

    class Meta:
        indexes = [
            due_index("classification_due"),
            # Held until earlier stages end (ClassificationQuerySet.held).
            models.Index(
                fields=["asset"],
                name="classification_held",
                condition=Q(due_at__isnull=True, finished_at__isnull=True),
            ),
            models.Index(
                fields=["skipped_by", "finished_at"],
                name="classification_skipped",
                condition=Q(skipped_by__isnull=False),
            ),
            models.Index(
                fields=["reclassification", "status"],
                name="classification_ordered",
                condition=Q(reclassification__isnull=False),
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["asset", "classifier", "version"], name="classification_once_per_version"
            ),
            models.CheckConstraint(
                name="classification_status_known",
                condition=Q(status__in=["queued", "done", "failed", "skipped"]),
            ),
            models.CheckConstraint(
                name="classification_score_is_percent",
                condition=Q(score__isnull=True) | Q(score__gte=0, score__lte=100),
            ),
            models.CheckConstraint(
                name="classification_failure_has_a_sentence",
                condition=~Q(status="failed") | ~Q(error=""),
            ),
            models.CheckConstraint(
                name="classification_skipped_by_a_rule",
                condition=Q(status="skipped", skipped_by__isnull=False) & ~Q(error="")
                | ~Q(status="skipped") & Q(skipped_by__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.classifier} {self.version}: {self.get_status_display()}"

    @property
    def is_evidence(self) -> bool:
        """Return whether the policy and people use the result. Shadow heads' are only stored."""
        return not (isinstance(self.raw, dict) and self.raw.get("no_evidence"))

    @property
    def is_held(self) -> bool:
        return self.status == self.Status.QUEUED and self.due_at is None


def _keep_newest(runs: Sequence[Classification]) -> list[Classification]:
    """Keep the last run of each classifier. ``runs`` are of one asset, in creation order."""
    newest = {run.classifier: run.pk for run in runs}
    return [run for run in runs if newest[run.classifier] == run.pk]


_OF_ASSET = PreparedQuery(
    lambda asset: Classification.objects.filter(asset=asset).order_by("pk"), asset=int
)


class Label(models.Model):
    """A category with a confidence, found by one classification."""

    classification = models.ForeignKey(
        Classification, on_delete=models.CASCADE, related_name="labels"
    )
    category = models.CharField(max_length=60, choices=taxonomy.CHOICES)
    # Null if the classifier gives none (Scenario).
    confidence = models.DecimalField(
        max_digits=5, decimal_places=2, null=True, blank=True, validators=PERCENT
    )
    box = models.JSONField(
        null=True, blank=True, help_text="left, top, width, height as fractions of the image"
    )

    class Meta:
        indexes = [models.Index(fields=["category", "-confidence"], name="label_category")]
        constraints = [
            models.CheckConstraint(
                name="label_confidence_is_percent",
                condition=Q(confidence__isnull=True) | Q(confidence__gte=0, confidence__lte=100),
            ),
        ]

    def __str__(self) -> str:
        return (
            f"{self.category_name}"
            f" {'without confidence' if self.confidence is None else self.confidence}"
        )

    @property
    def category_name(self) -> str:
        return taxonomy.join_names([self.category])

    @property
    def l1_name(self) -> str:
        return taxonomy.join_names([self.category.partition(".")[0]])
