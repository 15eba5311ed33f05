"""Trials: drafts of policies replayed over the record, and shadows, which judge new images."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from generation.core.db.state_machine import DueModel, DueQuerySet, due_index
from moderation.models.policies import Policy
from moderation.models.reviews import Review
from moderation.models.trials import Trial

OUTCOMES = [
    ("approve", "Approve"),
    ("blur", "Approve blurred"),
    ("person", "To a person"),
    ("reject", "Reject"),
]


class PolicyTrialQuerySet(DueQuerySet["PolicyTrial"]):
    pass


class PolicyTrial(Trial):
    """A draft replayed over the images of the last days, compared with another policy."""

    candidate = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="trials")
    baseline = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="+")
    # Both policies as they were when the trial began, and the window (services.trials.Plan).
    plan = models.JSONField(default=dict)
    images = models.PositiveIntegerField("images so far", default=0)
    expected = models.PositiveIntegerField("images expected", default=0)

    objects = PolicyTrialQuerySet.as_manager()

    class Meta:
        indexes = [due_index("policy_trial_due")]
        constraints = [
            models.CheckConstraint(
                name="policy_trial_status_known",
                condition=Q(status__in=["running", "finished", "cancelled", "failed"]),
            ),
        ]

    def __str__(self) -> str:
        return f"Trial of version {self.candidate.version}, {self.created_at:%Y-%m-%d %H:%M} UTC"


class TrialJudgement(models.Model):
    """A person's answer to one change of a trial. It counts in that trial only."""

    class Answer(models.TextChoices):
        RIGHT = "right", "Right"
        WRONG = "wrong", "Wrong"
        UNSURE = "unsure", "Unsure"

    trial = models.ForeignKey(PolicyTrial, on_delete=models.CASCADE, related_name="judgements")
    review = models.ForeignKey(Review, on_delete=models.CASCADE, related_name="+")
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    cell = models.CharField(max_length=30)  # the old and the new outcome (trial_counts.name_cell)
    answer = models.CharField(max_length=6, choices=Answer)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["trial", "review", "person"], name="trial_judgement_once_per_person"
            ),
            models.CheckConstraint(
                name="trial_judgement_answer_known",
                condition=Q(answer__in=["right", "wrong", "unsure"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_answer_display()}: {self.cell}"


class PolicyShadow(models.Model):
    """A version of the policy that judges new images beside the one in force, without effect."""

    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="shadows")
    # The rules as they were when it began (services.policy_snapshots).
    snapshot = models.JSONField(default=dict)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT
    )
    started_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["policy"], name="policy_shadow_once", condition=Q(ended_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"Shadow of version {self.policy.version}"


class ShadowCheckQuerySet(DueQuerySet["ShadowCheck"]):
    pass


class ShadowCheck(DueModel):
    """A review that was settled while a shadow ran, and that the shadow has yet to judge."""

    review = models.OneToOneField(Review, on_delete=models.CASCADE, related_name="+")
    outcome = models.CharField(max_length=7, choices=OUTCOMES)  # of the policy in force

    objects = ShadowCheckQuerySet.as_manager()

    class Meta:
        indexes = [due_index("shadow_check_due")]

    def __str__(self) -> str:
        return f"Shadow check of {self.review_id}"


class ShadowCount(models.Model):
    """The number of settlements in one hour, by the outcomes of both policies."""

    shadow = models.ForeignKey(PolicyShadow, on_delete=models.CASCADE, related_name="counts")
    hour = models.DateTimeField()
    old = models.CharField(max_length=7, choices=OUTCOMES)
    new = models.CharField(max_length=7, choices=OUTCOMES)
    images = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["shadow", "hour", "old", "new"], name="shadow_count_once_per_hour"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.old} to {self.new}: {self.images}"


class ShadowResult(models.Model):
    """An image for which a shadow has another outcome than the policy in force."""

    shadow = models.ForeignKey(PolicyShadow, on_delete=models.CASCADE, related_name="results")
    review = models.ForeignKey(Review, on_delete=models.CASCADE, related_name="+")
    old = models.CharField(max_length=7, choices=OUTCOMES)
    new = models.CharField(max_length=7, choices=OUTCOMES)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [
            models.Index(fields=["shadow", "-created_at"], name="shadow_result_newest"),
            models.Index(
                fields=["shadow", "old", "new", "-created_at"], name="shadow_result_change"
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["shadow", "review"], name="shadow_result_once_per_review"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.old} to {self.new}"
