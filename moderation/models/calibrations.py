"""Calibration sessions: several people judge the same images, then compare their answers.

An answer is no decision. Others see it when they have finished themselves, or the session is
closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from generation.core.urls import build_url
from moderation import taxonomy
from moderation.models.decisions import Verdict, describe_verdict
from moderation.models.reviews import Review

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class CalibrationSessionQuerySet(models.QuerySet["CalibrationSession"]):
    def visible_to(self, user: User) -> Self:
        """Return the sessions that a person takes part in or has started."""
        mine = CalibrationParticipant.objects.filter(person=user).values("session")
        return self.filter(Q(created_by=user) | Q(pk__in=mine))


class CalibrationSession(models.Model):
    """A few images that several people judge without seeing each other's answers."""

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    title = models.CharField(max_length=100)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    closed_at = models.DateTimeField(null=True, blank=True)

    objects = CalibrationSessionQuerySet.as_manager()

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return build_url("moderation:calibration-session-detail", self.uuid)


class CalibrationImage(models.Model):
    """One image of a calibration session."""

    session = models.ForeignKey(CalibrationSession, on_delete=models.CASCADE, related_name="images")
    review = models.ForeignKey(Review, on_delete=models.PROTECT, related_name="+")
    position = models.PositiveSmallIntegerField()  # from 1

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(
                fields=["session", "review"], name="calibration_image_once_a_session"
            ),
            models.UniqueConstraint(
                fields=["session", "position"], name="calibration_image_position_once"
            ),
        ]

    def __str__(self) -> str:
        return f"Image {self.position}"


class CalibrationParticipant(models.Model):
    """A person who judges the images of a calibration session."""

    session = models.ForeignKey(
        CalibrationSession, on_delete=models.CASCADE, related_name="participants"
    )
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["person", "finished_at"], name="calibration_mine")]
        constraints = [
            models.UniqueConstraint(
                fields=["session", "person"], name="calibration_person_once_a_session"
            )
        ]

    def __str__(self) -> str:
        return f"Participant since {self.session.created_at:%Y-%m-%d}"


class CalibrationAnswer(models.Model):
    """A participant's answer to one image of a calibration session."""

    image = models.ForeignKey(CalibrationImage, on_delete=models.CASCADE, related_name="answers")
    participant = models.ForeignKey(
        CalibrationParticipant, on_delete=models.CASCADE, related_name="answers"
    )
    verdict = models.CharField(max_length=8, choices=Verdict)
    categories = models.JSONField(default=list)
    note = models.TextField(blank=True)
    answered_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["image", "participant"], name="calibration_answer_once"
            ),
            models.CheckConstraint(
                name="calibration_answer_known",
                condition=Q(verdict__in=["approve", "reject", "escalate"]),
            ),
        ]

    def __str__(self) -> str:
        return f"Answer at {self.answered_at:%Y-%m-%d %H:%M} UTC"

    @property
    def answer_name(self) -> str:
        return describe_verdict(Verdict(self.verdict))

    @property
    def category_names(self) -> str:
        return taxonomy.join_names(self.categories)


class CalibrationNote(models.Model):
    """A remark on one image, made when the answers are compared."""

    image = models.ForeignKey(CalibrationImage, on_delete=models.CASCADE, related_name="notes")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    text = models.TextField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"Note at {self.created_at:%Y-%m-%d %H:%M} UTC"
