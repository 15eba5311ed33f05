"""Rules that remove images after a time, orders to erase an end user, and legal holds."""

from __future__ import annotations

from typing import ClassVar, Self
from uuid import uuid4

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from generation.core.db.state_machine import DueModel, DueQuerySet, due_index
from generation.core.urls import build_url
from generation.models import Asset, GenerationRequest, Source, StateMachine

DAYS_MAX = 36_500


class RetentionRuleQuerySet(DueQuerySet["RetentionRule"]):
    def switched_on(self) -> Self:
        return self.filter(is_on=True)


class RetentionRule(DueModel):
    """A rule that removes images after some days. Off until a person switches it on."""

    class Status(models.TextChoices):
        DECIDED = "decided", "Approved or rejected"
        APPROVED = "approved", "Approved"
        REJECTED = "rejected", "Rejected"
        UNDECIDED = "undecided", "Undecided"

    uuid = models.UUIDField("UUID", default=uuid4, unique=True, editable=False)
    name = models.CharField(max_length=80, unique=True)
    is_on = models.BooleanField("on", default=False, editable=False)
    days = models.PositiveIntegerField(
        "Age in days",
        validators=[MinValueValidator(1), MaxValueValidator(DAYS_MAX)],
        help_text="Since the decision; of undecided images, since the arrival.",
    )
    status = models.CharField(
        max_length=9,
        choices=Status,
        default=Status.DECIDED,
        help_text="An undecided image is rejected when it is removed. It is never approved.",
    )
    source = models.CharField(max_length=8, choices=Source, blank=True, help_text="Empty: any.")
    end_user = models.CharField(
        "End user", max_length=200, blank=True, help_text="Id as programs send it. Empty: any."
    )
    purges_texts = models.BooleanField(
        "Remove prompts and file names too",
        default=False,
        help_text="Of a request, once all its images are removed. Search by words ends then.",
    )
    purges_hashes = models.BooleanField(
        "Remove perceptual hashes too",
        default=False,
        help_text="The SHA-256 stays. Without the perceptual hash, look-alikes are not found.",
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_run_at = models.DateTimeField(null=True, blank=True, editable=False)
    purged = models.PositiveBigIntegerField("removed images", default=0, editable=False)
    error = models.TextField(blank=True, editable=False)

    objects = RetentionRuleQuerySet.as_manager()

    class Meta:
        ordering = ("name",)
        indexes = [due_index("retention_rule_due")]
        constraints = [
            models.CheckConstraint(
                name="retention_rule_has_an_age", condition=Q(days__gte=1, days__lte=DAYS_MAX)
            ),
            models.CheckConstraint(
                name="retention_rule_due_iff_on",
                condition=Q(is_on=True, due_at__isnull=False) | Q(is_on=False, due_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return build_url("moderation:retention-rule-detail", self.uuid)

    @property
    def reason(self) -> str:
        """Return the reason that its tombstones name."""
        return f"Retention rule “{self.name}”: {self.describe()}"

    def describe(self) -> str:
        """Return the rule in words."""
        what = f"{self.get_status_display().lower()} images"
        origin = f" from {self.get_source_display()}" if self.source else ""
        user = f" of end user {self.end_user}" if self.end_user else ""
        days = "1 day" if self.days == 1 else f"{self.days} days"
        return f"{what}{origin}{user} after {days}"


class RetentionEvent(models.Model):
    """A change of the retention rules, or an erasure: who did what. Append-only, by triggers."""

    name = models.CharField(max_length=80)
    action = models.CharField(max_length=300)
    person_name = models.CharField(max_length=150, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.name}: {self.action}"


class Erasure(StateMachine, DueModel):
    """An order to remove all images and texts of one end user. Their id is cleared at the end."""

    class Status(models.TextChoices):
        RUNNING = "running", "Running"
        FINISHED = "finished", "Finished"

    TRANSITIONS: ClassVar[dict[str, tuple[str, ...]]] = {
        Status.RUNNING: (Status.FINISHED,),
        Status.FINISHED: (),
    }

    uuid = models.UUIDField("UUID", default=uuid4, unique=True, editable=False)
    status = models.CharField(max_length=8, choices=Status, default=Status.RUNNING)
    end_user = models.CharField(max_length=200, blank=True)
    # Tells whether an id was erased before, without the id.
    end_user_sha256 = models.CharField("SHA-256 of the end user", max_length=64)
    reason = models.CharField(max_length=200)
    ordered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True, blank=True)
    images = models.PositiveIntegerField("removed images", default=0)
    requests = models.PositiveIntegerField("requests without texts", default=0)
    held = models.PositiveIntegerField("images on legal hold", default=0)
    error = models.TextField(blank=True)

    objects = DueQuerySet["Erasure"].as_manager()

    class Meta:
        ordering = ("-pk",)
        indexes = [due_index("erasure_due")]
        constraints = [
            models.UniqueConstraint(
                fields=["end_user"],
                name="erasure_running_once",
                condition=Q(status="running"),
            ),
            models.CheckConstraint(
                name="erasure_status_known", condition=Q(status__in=["running", "finished"])
            ),
        ]

    def __str__(self) -> str:
        return f"Erasure {str(self.uuid)[:8]}"


class LegalHoldQuerySet(models.QuerySet["LegalHold"]):
    def in_effect(self) -> Self:
        return self.filter(lift__isnull=True)


class LegalHold(models.Model):
    """An order to keep images, whatever any rule says. Append-only: a lift is a row of its own."""

    class Scope(models.TextChoices):
        IMAGES = "images", "Images"
        REQUEST = "request", "A request"
        END_USER = "end_user", "An end user"

    uuid = models.UUIDField("UUID", default=uuid4, unique=True, editable=False)
    scope = models.CharField(max_length=8, choices=Scope)
    # Of images: what was searched, or the short id of the one image.
    about = models.CharField(max_length=500)
    request = models.ForeignKey(
        GenerationRequest, null=True, blank=True, on_delete=models.PROTECT, related_name="holds"
    )
    end_user = models.CharField(max_length=200, blank=True)
    reason = models.TextField()
    placed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    placed_by_name = models.CharField(max_length=150)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = LegalHoldQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        indexes = [
            models.Index(fields=["end_user"], name="legal_hold_end_user", condition=~Q(end_user=""))
        ]
        constraints = [
            models.CheckConstraint(
                name="legal_hold_names_its_target",
                condition=Q(scope="images", request__isnull=True, end_user="")
                | Q(scope="request", request__isnull=False, end_user="")
                | (Q(scope="end_user", request__isnull=True) & ~Q(end_user="")),
            ),
            models.CheckConstraint(name="legal_hold_has_a_reason", condition=~Q(reason="")),
        ]
        permissions = [("lift_legalhold", "Can lift legal holds")]

    def __str__(self) -> str:
        return f"{self.get_scope_display()}: {self.about}"


class HeldImage(models.Model):
    """One image of a legal hold on images. Append-only like the hold."""

    hold = models.ForeignKey(LegalHold, on_delete=models.PROTECT, related_name="images")
    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="held")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["hold", "asset"], name="held_image_once_a_hold")
        ]

    def __str__(self) -> str:
        return f"Asset {self.asset_id} of hold {self.hold_id}"


class LegalHoldLift(models.Model):
    """The end of a legal hold: who lifted it, when and why. Append-only."""

    hold = models.OneToOneField(LegalHold, on_delete=models.PROTECT, related_name="lift")
    reason = models.TextField()
    lifted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    lifted_by_name = models.CharField(max_length=150)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(name="legal_hold_lift_has_a_reason", condition=~Q(reason=""))
        ]

    def __str__(self) -> str:
        return f"Lift of hold {self.hold_id}"


def is_held(asset: str = "") -> Q:
    """Return the condition that a legal hold in effect covers an asset.

    ``asset`` is the path to the asset with its "__" at the end; "" in a queryset of assets.
    """
    holds = LegalHold.objects.in_effect()
    key = OuterRef(f"{asset}pk")
    request = OuterRef(f"{asset}request_id")
    users = (OuterRef(f"{asset}end_user"), OuterRef(f"{asset}request__end_user"))
    return (
        Q(Exists(HeldImage.objects.filter(asset=key, hold__lift__isnull=True)))
        | Q(Exists(holds.filter(request=request)))
        | Q(Exists(holds.filter(~Q(end_user=""), end_user__in=users)))
    )
