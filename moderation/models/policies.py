"""Policies: versioned thresholds. One is active, and a policy that has been used never changes."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import ClassVar, Self
from uuid import uuid4

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Exists, F, Q
from django.urls import reverse
from django.utils import timezone

from generation.core.db.prepared.query import PreparedQuery
from generation.core.db.state_machine import DueModel, DueQuerySet, due_index, one_of
from generation.models import Source, StateMachine
from moderation import taxonomy

PERCENT = [MinValueValidator(0), MaxValueValidator(100)]


class PolicyQuerySet(models.QuerySet["Policy"]):
    def active(self) -> Policy:
        """Return the policy in force, whatever this queryset filters.

        There is always one: a migration creates the first.
        """
        policy = _IN_FORCE.row()
        if policy is None:
            raise Policy.DoesNotExist("No policy is in force.")
        models.prefetch_related_objects([policy], "rules", "earned_trusts")
        return policy

    def drafts(self) -> Self:
        """Return the versions that were never in force."""
        return self.filter(is_active=False, activated_at__isnull=True)


class Policy(models.Model):
    """A version of the thresholds by which images are approved, rejected or sent to a person."""

    class Level(models.IntegerChoices):
        EXPLICIT = 0, "0 – explicit content and hate symbols"
        NUDITY = 1, "1 – also non-explicit nudity and kissing"
        SWIMWEAR = 2, "2 – also swimwear and underwear"

    version = models.PositiveIntegerField(unique=True)
    name = models.CharField(max_length=120)
    note = models.TextField(
        blank=True,
        help_text=("What changed in this version, and why. Shown only on this page."),
    )
    summary = models.TextField(
        blank=True,
        help_text=(
            "What this policy settles by itself, and what it leaves to people. Shown on Today "
            "while it is in force. Removed when the rules are changed without a new text."
        ),
    )
    is_active = models.BooleanField("in force", default=False)
    nsfw_level = models.PositiveSmallIntegerField(
        "NSFW level",
        choices=Level,
        default=Level.EXPLICIT,
        help_text=(
            "Categories that count as NSFW for /api/nsfw/image, and by which a score without a "
            "category (Novita's) is read. A score at a higher level is read at this level too: it "
            "rejects only with a named category of this level, and not if a classifier names a "
            "category above this level, which may be all that the score means."
        ),
    )
    nsfw_review_at = models.DecimalField(
        "score: review at",
        max_digits=5,
        decimal_places=2,
        default=20,
        validators=PERCENT,
        help_text=(
            "From this score without a category on, the image goes to a person, unless a "
            "classifier explains the score: it names a category of the score's level at this "
            "confidence or more, and its “nothing found” counts for the other categories of that "
            "level. Then the rules of the named categories decide."
        ),
    )
    nsfw_reject_at = models.DecimalField(
        "score: reject at",
        max_digits=5,
        decimal_places=2,
        null=True,
        blank=True,
        validators=PERCENT,
        help_text=(
            "From this score on the policy rejects the image, if a classifier names a category "
            "of the NSFW level (or of the score's level, if that is lower) and the score reaches "
            "“reject at” of every such category. A score alone goes to a person. Empty: a score "
            "never rejects."
        ),
    )
    may_approve = models.BooleanField(
        default=True,
        help_text=(
            "The policy may approve images in which no classifier found anything. Off: "
            "all images go to people."
        ),
    )
    approves_imports = models.BooleanField(
        "may approve imported files",
        default=False,
        help_text=(
            "The policy may also approve imported files. Off: every imported file goes to a person."
        ),
    )
    trusted_silences = models.JSONField(
        "counts “nothing found” of",
        default=list,
        blank=True,
        help_text="Slugs of classifiers whose “nothing found” counts for what they cover.",
    )
    accepted_unchecked = models.JSONField(
        "approves although nothing checked",
        default=list,
        blank=True,
        help_text=(
            "L1 categories that need no check: the policy approves an image although no classifier "
            "looked for them. The reason of each approval names them. If classifiers are chosen "
            "above, this counts only for images that one of them judged."
        ),
    )
    requires_full_coverage = models.BooleanField(
        default=False,
        help_text=(
            "On: “nothing found” counts only for categories that the classifier covers fully. Off: "
            "partial and heuristic coverage count too."
        ),
    )
    reuses_approvals = models.BooleanField(
        "reuses approvals of the same file",
        default=False,
        help_text=(
            "The policy may approve a file that a person has approved before, as long as that "
            "approval stands. No classifier is asked then. Off: the classifiers judge it again."
        ),
    )
    trusts_allow_lists = models.BooleanField(
        default=False,
        help_text=(
            "The policy may approve a file whose SHA-256 is on an allow list. No classifier is "
            "asked then. Off: the entry is only shown."
        ),
    )
    delivers_rendition = models.BooleanField(
        "always delivers the rendition",
        default=False,
        help_text=(
            "On: programs get images that are approved while this policy is in force as "
            "renditions: opaque, sRGB, first frame only. Off: they get the original, without "
            "location and personal metadata. An original that looks different from its "
            "rendition is delivered only after a person approved it on its review page."
        ),
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # The first activation only; PolicyActivation has all of them.
    activated_at = models.DateTimeField(
        "first put into force", null=True, blank=True, editable=False
    )

    objects = PolicyQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "policies"
        constraints = [
            models.UniqueConstraint(
                fields=["is_active"],
                name="policy_one_active",
                condition=Q(is_active=True),
                violation_error_message=(
                    "Another policy is in force. Propose this one on its page to replace it."
                ),
            ),
            models.CheckConstraint(
                name="policy_reviews_before_it_rejects",
                condition=Q(nsfw_reject_at__isnull=True)
                | Q(nsfw_reject_at__gte=F("nsfw_review_at")),
                violation_error_message=(
                    "“Score: reject at” must not be lower than “score: review at”. Raise it, "
                    "or leave it empty."
                ),
            ),
        ]
        permissions = [
            ("activate_policy", "Can put a policy into force"),
            ("use_admin_site", "Can open the admin site without being staff"),
        ]

    def __str__(self) -> str:
        return f"{self.name} (version {self.version})"

    def get_absolute_url(self) -> str:
        return reverse("moderation:policy-detail", args=[self.version])

    @property
    def has_shadows(self) -> bool:
        """Return whether shadows judge new images, as far as ``PolicyQuerySet.active`` read it."""
        return bool(getattr(self, "runs_shadows", False))

    @property
    def last_activated_at(self) -> datetime | None:
        """Return the time of the last activation."""
        return self.activations.order_by("-created_at").values_list("created_at", flat=True).first()

    @property
    def is_used(self) -> bool:
        return (
            self.review_set.exists()
            or self.decision_set.exists()
            or self.ask_rules.filter(skipped__isnull=False).exists()
        )


def _find_in_force() -> models.QuerySet[Policy]:
    shadows = apps.get_model("moderation", "PolicyShadow").objects
    rows = Policy.objects.filter(is_active=True)
    return rows.annotate(runs_shadows=Exists(shadows.filter(ended_at__isnull=True)))


_IN_FORCE = PreparedQuery(_find_in_force)


class PolicyProposalQuerySet(DueQuerySet["PolicyProposal"]):
    def open(self) -> Self:
        """Return the proposals that wait for approval or for their time."""
        return self.filter(one_of("status", PolicyProposal.OPEN))


class PolicyProposal(StateMachine, DueModel):
    """A person's proposal to put a draft into force, for a reason."""

    class Status(models.TextChoices):
        PROPOSED = "proposed", "Waits for approval"
        SCHEDULED = "scheduled", "Scheduled"
        APPLIED = "applied", "Put into force"
        RETURNED = "returned", "Returned"
        WITHDRAWN = "withdrawn", "Withdrawn"

    OPEN = (Status.PROPOSED, Status.SCHEDULED)
    TRANSITIONS: ClassVar[dict[str, tuple[str, ...]]] = {
        Status.PROPOSED: (Status.SCHEDULED, Status.APPLIED, Status.RETURNED, Status.WITHDRAWN),
        Status.SCHEDULED: (Status.APPLIED, Status.WITHDRAWN),
        Status.APPLIED: (),
        Status.RETURNED: (),
        Status.WITHDRAWN: (),
    }

    uuid = models.UUIDField("UUID", default=uuid4, unique=True, editable=False)
    policy = models.ForeignKey(Policy, on_delete=models.PROTECT, related_name="proposals")
    status = models.CharField(max_length=9, choices=Status, default=Status.PROPOSED)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    reason = models.TextField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # Null: at once, when it is approved.
    starts_at = models.DateTimeField(null=True, blank=True)
    fingerprint = models.CharField(
        max_length=64, help_text="SHA-256 of the draft's contents when it was proposed."
    )
    approver = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
    )
    approved_at = models.DateTimeField(null=True, blank=True)
    # Of a proposal that was returned or withdrawn. Null for one that an edit of the draft withdrew.
    closed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
    )
    closed_at = models.DateTimeField(null=True, blank=True)
    comment = models.TextField(blank=True, help_text="Why it was returned or withdrawn.")

    objects = PolicyProposalQuerySet.as_manager()

    class Meta:
        indexes = [due_index("policy_proposal_due")]
        constraints = [
            models.UniqueConstraint(
                fields=["policy"],
                name="policy_proposal_one_open",
                condition=Q(status="proposed") | Q(status="scheduled"),
            ),
            models.CheckConstraint(
                name="policy_proposal_status_known",
                condition=one_of(
                    "status", ["proposed", "scheduled", "applied", "returned", "withdrawn"]
                ),
            ),
            models.CheckConstraint(name="policy_proposal_has_a_reason", condition=~Q(reason="")),
        ]

    def __str__(self) -> str:
        return f"{self.policy}: {self.get_status_display()}"

    @property
    def is_open(self) -> bool:
        return self.status in self.OPEN


class PolicyActivation(models.Model):
    """An immutable event that put a policy into force: it explains later automatic decisions.

    Triggers in both databases refuse UPDATE (migration 0048).
    """

    policy = models.ForeignKey(Policy, on_delete=models.PROTECT, related_name="activations")
    # The person who approved it. Null for the first policy, made by a migration, and the demo's,
    # made by a command.
    activated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # Empty in events from before these columns.
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
    )
    reason = models.TextField(blank=True)
    previous = models.ForeignKey(
        Policy,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        help_text="The policy that was in force before.",
    )
    changes = models.JSONField(
        default=list, help_text="What changed from the previous policy, in words."
    )
    proposal = models.OneToOneField(
        PolicyProposal,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="activation",
    )

    def __str__(self) -> str:
        return f"{self.policy}, {self.created_at:%Y-%m-%d %H:%M} UTC"


class PolicyRule(models.Model):
    """The confidences from which a category goes to a person, is blurred, and is rejected."""

    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="rules")
    category = models.CharField(max_length=60, choices=taxonomy.CHOICES)
    review_at = models.DecimalField(
        max_digits=5,
        decimal_places=2,
        null=True,
        blank=True,
        validators=PERCENT,
        help_text="From here to the next limit, a person decides. Empty: never.",
    )
    blur_at = models.DecimalField(
        max_digits=5,
        decimal_places=2,
        null=True,
        blank=True,
        validators=PERCENT,
        help_text=(
            "From here to “reject at”, the image is approved but delivered blurred, if nothing "
            "else is in doubt. Not lower than “review at”. Empty: never."
        ),
    )
    reject_at = models.DecimalField(
        max_digits=5,
        decimal_places=2,
        null=True,
        blank=True,
        validators=PERCENT,
        help_text="From here on, the image is rejected. The highest of the limits. Empty: never.",
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["policy", "category"],
                name="policy_rule_once_per_category",
                violation_error_message=(
                    "This policy already has a rule for that category. Change that rule."
                ),
            ),
            models.CheckConstraint(
                name="policy_rule_reviews_before_it_rejects",
                condition=Q(review_at__isnull=True)
                | Q(reject_at__isnull=True)
                | Q(reject_at__gte=F("review_at")),
                violation_error_message=(
                    "“Reject at” must not be lower than “review at”. Raise it, or leave one of "
                    "them empty."
                ),
            ),
            models.CheckConstraint(
                name="policy_rule_reviews_before_it_blurs",
                condition=Q(review_at__isnull=True)
                | Q(blur_at__isnull=True)
                | Q(blur_at__gte=F("review_at")),
                violation_error_message=(
                    "“Blur at” must not be lower than “review at”. Raise it, or leave one of "
                    "them empty."
                ),
            ),
            models.CheckConstraint(
                name="policy_rule_blurs_before_it_rejects",
                condition=Q(blur_at__isnull=True)
                | Q(reject_at__isnull=True)
                | Q(reject_at__gte=F("blur_at")),
                violation_error_message=(
                    "“Reject at” must not be lower than “blur at”. Raise it, or leave one of "
                    "them empty."
                ),
            ),
        ]

    def __str__(self) -> str:
        return taxonomy.join_names([self.category])

    def clean(self) -> None:
        """Require “review at” ≤ “blur at” ≤ “reject at” among those that are set."""
        limits = [
            ("review_at", self.review_at),
            ("blur_at", self.blur_at),
            ("reject_at", self.reject_at),
        ]
        known = [(field, limit) for field, limit in limits if limit is not None]
        errors = {
            field: f"Must not be lower than “{lower.replace('_', ' ')}”."
            for (lower, least), (field, limit) in pairwise(known)
            if limit < least
        }
        if errors:
            raise ValidationError(errors)


class EarnedTrust(models.Model):
    """The condition on which "nothing found" of a classifier counts for one category."""

    class Window(models.IntegerChoices):
        WEEK = 7, "7 days"
        MONTH = 30, "30 days"
        QUARTER = 90, "90 days"

    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="earned_trusts")
    classifier = models.CharField(max_length=40)
    category = models.CharField(
        max_length=60, choices=[(category.slug, category.name) for category in taxonomy.L1]
    )
    misses_max = models.DecimalField(
        "misses at most (%)",
        max_digits=5,
        decimal_places=2,
        validators=PERCENT,
        help_text=(
            "The silence counts while this version of the classifier misses at most this share of "
            "silent images, with a certainty of 95 %, by audits. Otherwise, and as long as that is "
            "not known, it does not count, even if it would count without this row."
        ),
    )
    days = models.PositiveSmallIntegerField("audits of the last", choices=Window, default=90)

    class Meta:
        ordering = ("classifier", "category")
        verbose_name = "earned trust"
        verbose_name_plural = "earned trust"
        constraints = [
            models.UniqueConstraint(
                fields=["policy", "classifier", "category"],
                name="earned_trust_once_per_classifier_and_category",
                violation_error_message=(
                    "This policy already has a row for that classifier and category. Change it."
                ),
            ),
            models.CheckConstraint(
                name="earned_trust_misses_are_percent",
                condition=Q(misses_max__gt=0, misses_max__lte=100),
                violation_error_message="“Misses at most” must be more than 0 and at most 100.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.classifier}, {taxonomy.join_names([self.category])}"


class AskRule(models.Model):
    """The conditions on which a classifier is asked. All that are set must hold.

    A classifier without a rule is always asked.
    """

    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="ask_rules")
    classifier = models.CharField(max_length=40)
    asks_from = models.DecimalField(
        "only from score",
        max_digits=5,
        decimal_places=2,
        null=True,
        blank=True,
        validators=PERCENT,
        help_text=(
            "Only if a classifier of an earlier stage gave this score or confidence, or a higher "
            "one. A result without a number, a failed one, and none at all count as higher."
        ),
    )
    skips_rejected = models.BooleanField(
        "not if already rejected",
        default=False,
        help_text="Not if the results of earlier stages are enough to reject the image.",
    )
    sources = models.JSONField(
        "only for", default=list, blank=True, help_text="Only for images of these sources."
    )
    share = models.PositiveSmallIntegerField(
        "only for percent",
        null=True,
        blank=True,
        validators=PERCENT,
        help_text=(
            "Only for this share of the images, drawn at random. The same image is always drawn "
            "the same way."
        ),
    )

    class Meta:
        ordering = ("classifier",)
        constraints = [
            models.UniqueConstraint(
                fields=["policy", "classifier"],
                name="ask_rule_once_per_classifier",
                violation_error_message=(
                    "This policy already has a rule for that classifier. Change that rule."
                ),
            ),
            models.CheckConstraint(
                name="ask_rule_score_is_percent",
                condition=Q(asks_from__isnull=True) | Q(asks_from__gte=0, asks_from__lte=100),
                violation_error_message="“Only from score” must be 0 to 100.",
            ),
            models.CheckConstraint(
                name="ask_rule_share_is_percent",
                condition=Q(share__isnull=True) | Q(share__gte=0, share__lte=100),
                violation_error_message="“Only for percent” must be 0 to 100.",
            ),
        ]

    def __str__(self) -> str:
        return self.classifier

    def clean(self) -> None:
        unknown = [value for value in self.sources if value not in Source.values]
        if unknown:
            raise ValidationError({"sources": "Choose sources from the list."})
        if (
            self.asks_from is None
            and not self.skips_rejected
            and not self.sources
            and self.share is None
        ):
            raise ValidationError(
                "Set at least one condition, or delete this rule: a classifier without a rule is "
                "always asked."
            )
