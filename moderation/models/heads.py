"""Learned heads: what was trained on people's decisions, and who put it into use."""

from __future__ import annotations

import hashlib
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from generation.core.db.state_machine import (
    DueModel,
    DueQuerySet,
    StateMachine,
    due_index,
    one_of,
)
from moderation import taxonomy
from moderation.judgement import heads


class BrokenHeadError(Exception):
    """The stored bytes of a head are not those that were trained."""


class HeadQuerySet(models.QuerySet["Head"]):
    def in_use(self, encoder_version: str, zero_shot_version: str) -> Self:
        """Return the heads that judge images of an encoder version, shadow heads too."""
        return self.exclude(status=Head.Status.RETIRED).filter(
            encoder_version=encoder_version, zero_shot_version=zero_shot_version
        )


class Head(StateMachine):
    """One trained head. Only its status and ``may_reject`` change, by ``services.learning``."""

    class Status(models.TextChoices):
        SHADOW = "shadow", "Shadow: judges, changes nothing"
        ADVISORY = "advisory", "Advisory: sorts the queue"
        ACTIVE = "active", "Active: sends images to people"
        RETIRED = "retired", "Retired"

    TRANSITIONS: ClassVar[dict[str, tuple[str, ...]]] = {
        Status.SHADOW: (Status.ADVISORY, Status.RETIRED),
        Status.ADVISORY: (Status.ACTIVE, Status.RETIRED),
        Status.ACTIVE: (Status.RETIRED,),
        Status.RETIRED: (),
    }

    category = models.CharField(max_length=60, choices=taxonomy.CHOICES)
    encoder_version = models.CharField(max_length=80)
    zero_shot_version = models.CharField(max_length=80, blank=True)
    status = models.CharField(max_length=8, choices=Status, default=Status.SHADOW)
    may_reject = models.BooleanField(
        default=False, help_text="Its findings may reject an image by the policy's “reject at”."
    )
    artefact = models.TextField(editable=False, help_text="JSON of moderation.judgement.heads.")
    sha256 = models.CharField("SHA-256", max_length=64, help_text="Of the artefact.")
    training_sha256 = models.CharField(
        "SHA-256 of the training", max_length=64, help_text="Of all that it was trained on."
    )
    recipe = models.JSONField(
        default=dict, help_text="Which part of the record it was trained on; to train it again."
    )
    failures = models.JSONField(
        default=list, help_text="Conditions that it does not fulfil, with reasons."
    )
    images = models.PositiveIntegerField()
    positives = models.PositiveIntegerField("images with the category")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # Null: trained by the job.
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
    )

    objects = HeadQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["category", "encoder_version", "status"],
                name="head_once_per_status",
                condition=~Q(status="retired"),
            ),
            models.CheckConstraint(
                name="head_status_known",
                condition=one_of("status", ["shadow", "advisory", "active", "retired"]),
            ),
            models.CheckConstraint(
                name="head_rejects_only_if_active",
                condition=Q(may_reject=False) | one_of("status", ["active", "retired"]),
            ),
        ]
        permissions = [("promote_head", "Can promote and retire heads")]

    def __str__(self) -> str:
        return f"{taxonomy.join_names([self.category])}, head {self.pk}"

    def load(self) -> heads.Head:
        """Return the head to compute with. Raises BrokenHeadError for altered bytes."""
        if hashlib.sha256(self.artefact.encode()).hexdigest() != self.sha256:
            raise BrokenHeadError(f"Head {self.pk} differs from its SHA-256.")
        try:
            return heads.Head.from_json(self.artefact)
        except ValueError as error:
            raise BrokenHeadError(f"Head {self.pk} cannot be read: {error}") from error

    @property
    def gate(self) -> str:
        """The conditions that it does not fulfil, in words; empty: it fulfils all."""
        return " ".join(failure["reason"] for failure in self.failures)


class HeadChange(models.Model):
    """An immutable event: the status of a head changed."""

    head = models.ForeignKey(Head, on_delete=models.PROTECT, related_name="changes")
    before = models.CharField(max_length=8)
    after = models.CharField(max_length=8)
    may_reject = models.BooleanField(default=False)
    note = models.TextField(blank=True)
    # Null: replaced by the job.
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return f"{self.head}: {self.before} to {self.after}"


class HeadRescoringQuerySet(DueQuerySet["HeadRescoring"]):
    pass


class HeadRescoring(DueModel):
    """The progress of applying the heads in use to waiting images: a single row."""

    position = models.BigIntegerField(default=0, help_text="Last review that was done.")
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = HeadRescoringQuerySet.as_manager()

    def __str__(self) -> str:
        return f"up to review {self.position}"


class HeadTrainingQuerySet(DueQuerySet["HeadTraining"]):
    pass


class HeadTraining(DueModel):
    """The schedule and last result of the training of one category."""

    category = models.CharField(max_length=60, choices=taxonomy.CHOICES, unique=True)
    sequence = models.BigIntegerField(default=0, help_text="Last decision that it knows.")
    made_for = models.CharField(max_length=170, blank=True, help_text="Encoder and prompts.")
    finished_at = models.DateTimeField(null=True, blank=True)
    result = models.TextField(blank=True, help_text="What keeps the new head from use, or why none")

    objects = HeadTrainingQuerySet.as_manager()

    class Meta:
        ordering = ("category",)
        indexes = [due_index("headtraining_due")]

    def __str__(self) -> str:
        return taxonomy.join_names([self.category])
