"""Golden images: settled images with a known answer, given unseen to people in their queue.

An answer is no decision: it changes neither the review nor the record, and only the person who gave
it sees it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from moderation import taxonomy
from moderation.models.decisions import Decision, Verdict, describe_verdict
from moderation.models.reviews import UNDO_WINDOW, Review

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.auth.models import User


class GoldenImageQuerySet(models.QuerySet["GoldenImage"]):
    def in_use(self) -> Self:
        return self.filter(retired_at__isnull=True)

    def with_known_answer(self) -> Self:
        """Return those whose review is still settled as it was when the image was marked."""
        settled = Q(
            Q(verdict=Verdict.APPROVE, review__status=Review.Status.APPROVED)
            | Q(verdict=Verdict.REJECT, review__status=Review.Status.REJECTED),
            review__is_blurred=F("is_blurred"),
        )
        return self.filter(settled).exclude(review__second_opinion=Review.SecondOpinion.WANTED)


class GoldenImage(models.Model):
    """A settled image whose answer is known: the decision in effect when it was marked."""

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    review = models.ForeignKey(Review, on_delete=models.PROTECT, related_name="golden_images")
    verdict = models.CharField(max_length=8, choices=Verdict)
    is_blurred = models.BooleanField("delivered blurred", default=False)
    categories = models.JSONField(default=list)
    explanation = models.TextField(
        blank=True, help_text="Shown to a person after the answer and the time to undo it."
    )
    marked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    retired_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
    )
    retired_at = models.DateTimeField(null=True, blank=True)

    objects = GoldenImageQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["review"],
                name="golden_image_in_use_once",
                condition=Q(retired_at__isnull=True),
            ),
            models.CheckConstraint(
                name="golden_image_is_settled", condition=Q(verdict__in=["approve", "reject"])
            ),
        ]

    def __str__(self) -> str:
        return f"Golden image {self.pk}"

    @property
    def answer_name(self) -> str:
        return describe_verdict(Verdict(self.verdict), is_blurred=self.is_blurred)

    @property
    def category_names(self) -> str:
        return taxonomy.join_names(self.categories)


class GoldenAnswerQuerySet(models.QuerySet["GoldenAnswer"]):
    def answered(self) -> Self:
        return self.filter(answered_at__isnull=False)

    def undoable_by(self, user: User) -> Self:
        """Return a person's answers that they may still take back, newest first."""
        since = timezone.now() - UNDO_WINDOW
        rows = self.filter(person=user, answered_at__gte=since).order_by("-answered_at")
        return rows.select_related("golden_image__review__asset", "person")

    def answered_before(self, end: datetime) -> Self:
        return self.filter(answered_at__lt=end).select_related("golden_image__review__asset")


class GoldenAnswer(models.Model):
    """A golden image that was given to one person, and their answer if there is one.

    Shown to that person only. Not in the admin site.
    """

    # The name that the browser gave to the decision: one that is sent twice is stored once.
    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    golden_image = models.ForeignKey(GoldenImage, on_delete=models.PROTECT, related_name="answers")
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    asked_at = models.DateTimeField(default=timezone.now)
    answered_at = models.DateTimeField(null=True, blank=True)
    verdict = models.CharField(max_length=8, choices=Verdict, blank=True)
    is_blurred = models.BooleanField(default=False)
    categories = models.JSONField(default=list)
    note = models.TextField(blank=True)
    seconds = models.DecimalField(max_digits=8, decimal_places=1, null=True, blank=True)

    objects = GoldenAnswerQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["person", "answered_at"], name="golden_answer_mine")]
        constraints = [
            models.UniqueConstraint(
                fields=["golden_image", "person"], name="golden_answer_once_a_person"
            ),
            models.CheckConstraint(
                name="golden_answer_is_whole",
                condition=Q(answered_at__isnull=True, verdict="")
                | Q(answered_at__isnull=False, verdict__in=["approve", "reject", "escalate"]),
            ),
        ]

    def __str__(self) -> str:
        # Without the answer: the admin site lists related rows when an account is deleted.
        return f"Golden image given at {self.asked_at:%Y-%m-%d %H:%M} UTC"

    @property
    def is_unsure(self) -> bool:
        return self.verdict == Verdict.ESCALATE

    @property
    def agrees(self) -> bool:
        known = self.golden_image
        return (self.verdict, self.is_blurred) == (known.verdict, known.is_blurred)

    @property
    def answer_name(self) -> str:
        return describe_verdict(Verdict(self.verdict), is_blurred=self.is_blurred)

    @property
    def category_names(self) -> str:
        return taxonomy.join_names(self.categories)

    def as_decision(self) -> Decision:
        """Return the decision as which pages show this answer. It is never saved."""
        return Decision(
            uuid=self.uuid,
            review=self.golden_image.review,
            verdict=self.verdict,
            is_blurred=self.is_blurred,
            categories=self.categories,
            note=self.note,
            reviewer=self.person,
            reviewer_name=self.person.get_username(),
            seconds=self.seconds,
            created_at=self.answered_at or self.asked_at,
        )
