"""Reviews: the state of each asset.

The status is a projection of the decisions; a test replays them.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self
from uuid import uuid4

from django.apps import apps
from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Lower
from django.utils import timezone

from generation.core.db.state_machine import one_of
from generation.core.urls import build_url
from generation.models import Asset, Source, StateMachine
from moderation import taxonomy
from moderation.models import found_categories as found
from moderation.models.found_categories import HasFound, HasFoundNothing
from moderation.models.policies import Policy
from moderation.policy_engine import (
    FLAGGED_RISK,
    PARTLY_JUDGED_RISK,
    UNJUDGED_RISK,
    rank_confidence,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# Labels of images without a category and without a score, by risk.
WITHOUT_CATEGORY = {
    UNJUDGED_RISK: "Not judged",
    PARTLY_JUDGED_RISK: "Judged in part",
    FLAGGED_RISK: "Flagged, no category",
}
NO_FINDINGS = "No findings"
CLAIM_LASTS = timedelta(minutes=5)
UNDO_WINDOW = timedelta(minutes=10)


SEARCHED_BY = ("source", "provider")
# Index name to its columns after the status.
_QUEUE_INDEXES = {
    # Includes claimed_until: the head of the queue is full of images claimed by others.
    "queue": ["-risk", "id", "top_category_l1", "created_at", "claimed_until"],
    "oldest": ["id", "top_category_l1", "found", "source", "provider"],
    "source": ["source", "-risk", "id", "top_category_l1", "provider"],
    "provider": ["provider", "-risk", "id", "top_category_l1", "source"],
}


class ReviewQuerySet(models.QuerySet["Review"]):
    def with_status(self, status: Review.Status) -> Self:
        """Return reviews with this status, by the partial indexes.

        See ADR 0015.
        """
        # The condition on decided_at is implied by the status. The databases need it to use the
        # partial indexes on decided or undecided rows.
        return self.filter(status=status, decided_at__isnull=status not in Review.DECIDED)

    def waiting(self) -> Self:
        return self.with_status(Review.Status.PENDING)

    def escalated(self) -> Self:
        """Return escalated reviews that senior moderators decide."""
        return self.with_status(Review.Status.ESCALATED).filter(for_lead=False)

    def awaiting_lead(self) -> Self:
        """Return escalated reviews that a policy lead decides."""
        return self.with_status(Review.Status.ESCALATED).filter(for_lead=True)

    def available_to(self, user: User) -> Self:
        """Return reviews that this user can claim now: unclaimed, expired, or already theirs."""
        return self.filter(
            Q(claimed_until__isnull=True) | Q(claimed_until__lt=timezone.now()) | Q(claimed_by=user)
        )

    def available(self, now: datetime) -> Self:
        """Return reviews without a claim or with an expired one."""
        return self.filter(Q(claimed_until__isnull=True) | Q(claimed_until__lt=now))

    def not_requested_by(self, user: User | int) -> Self:
        """Exclude images requested by this user. Images of unknown requesters are kept."""
        return self.exclude(requested_by=user)

    def not_disputed_by(self, user: User | int) -> Self:
        return self.exclude(self._dispute_of(user))

    def disputed_by(self, user: User | int) -> Self:
        """Return disagreements in which this user gave one opinion. Others settle them."""
        return self.filter(self._dispute_of(user))

    def with_party(self, user: User | int, *, own: bool) -> Self:
        """Return disagreements that this user may not settle.

        ``own``: also those on images that the user requested.
        """
        dispute = self._dispute_of(user)
        return self.filter(dispute | Q(requested_by=user) if own else dispute)

    def _dispute_of(self, user: User | int) -> Q:
        # A disputed review has two decisions in effect, the two opinions: their authors are the
        # parties.
        decisions = apps.get_model("moderation", "Decision").objects
        opinions = decisions.effective().filter(review=OuterRef("pk"), reviewer=user)
        return Q(
            Exists(opinions),
            status=Review.Status.ESCALATED,
            second_opinion=Review.SecondOpinion.DISAGREED,
        )

    def for_screen(self) -> Self:
        """Select the related rows that the review page reads."""
        return self.for_panel().select_related("claimed_by")

    def for_panel(self) -> Self:
        """Select the same as ``for_screen``, without the previous holder of the claim."""
        return self.select_related("asset__request__requested_by", "asset__stored_by")

    def for_tiles(self) -> Self:
        """Select only the columns and related rows that a page of many images shows."""
        return self.select_related("asset__request", "claimed_by").only(
            "uuid",
            "status",
            "risk",
            "top_category",
            "top_category_l1",
            "top_confidence",
            "reason",
            "is_blurred",
            "for_lead",
            "second_opinion",
            "decided_by",
            "created_at",
            "claimed_until",
            "claimed_by__username",
            "asset__uuid",
            "asset__preview",
            "asset__source",
            "asset__request__provider",
        )

    def held_by(self, user: User | int, now: datetime | None = None) -> Self:
        return self.filter(claimed_by=user, claimed_until__gte=now or timezone.now())

    def in_order(self) -> Self:
        """Order by risk, highest first, then by age, oldest first: the default queue order."""
        return self.order_by("-risk", "pk")

    def awaiting_second_opinion(self) -> Self:
        """Return decided reviews that wait for a second opinion."""
        # The second condition is implied by the first. SQLite needs it to use the partial indexes.
        wanted = self.filter(second_opinion=Review.SecondOpinion.WANTED, status__in=Review.DECIDED)
        return wanted.exclude(second_opinion=Review.SecondOpinion.NONE)

    def open_for(self, user: User | int) -> Self:
        """Return reviews that wait for a decision, or for a second opinion of this user."""
        second = Q(second_opinion=Review.SecondOpinion.WANTED, status__in=Review.DECIDED) & ~Q(
            decided_by=user
        )
        return self.filter(Q(status__in=[Review.Status.PENDING, Review.Status.ESCALATED]) | second)

    def awaiting_audit(self) -> Self:
        """Return reviews that the policy decided and that wait for a blind check."""
        return self.awaiting_second_opinion().filter(decided_by__isnull=True)

    def golden_to(self, user: User) -> Self:
        """Return reviews that this user holds as golden images (``Review.is_golden_to``)."""
        settled = self.held_by(user).filter(status__in=Review.DECIDED)
        return settled.exclude(second_opinion=Review.SecondOpinion.WANTED)

    def blind_to(self, user: User) -> Self:
        """Return reviews that this user holds for a second opinion.

        No page may show them the first decision meanwhile.
        """
        wanted = self.held_by(user).filter(
            second_opinion=Review.SecondOpinion.WANTED, status__in=Review.DECIDED
        )
        return wanted.exclude(decided_by=user)


class Review(StateMachine):
    """The state of one asset: status, risk, claim and a copy of the latest decision."""

    class Status(models.TextChoices):
        CLASSIFYING = "classifying", "Being classified"
        PENDING = "pending", "Awaiting a decision"
        ESCALATED = "escalated", "Escalated"
        APPROVED = "approved", "Approved"
        REJECTED = "rejected", "Rejected"

    class SecondOpinion(models.TextChoices):
        """The state of the blind second check of a decided image."""

        NONE = "", "None"
        WANTED = "wanted", "Wanted"
        AGREED = "agreed", "Agreed"
        DISAGREED = "disagreed", "Disagreed"

    DECIDED = (Status.APPROVED, Status.REJECTED)
    LEAD_PERMISSION = "moderation.decide_lead_review"
    TRANSITIONS: ClassVar[dict[str, tuple[str, ...]]] = {
        Status.CLASSIFYING: (Status.PENDING, Status.APPROVED, Status.REJECTED),
        Status.PENDING: (Status.APPROVED, Status.REJECTED, Status.ESCALATED),
        # Pending only by a reversal: the person who escalated may undo that within the undo window.
        Status.ESCALATED: (Status.APPROVED, Status.REJECTED, Status.PENDING),
        # A reversal returns to the status before: an escalated review stays with the seniors. A
        # second opinion that disagrees escalates too.
        Status.APPROVED: (Status.PENDING, Status.ESCALATED),
        Status.REJECTED: (Status.PENDING, Status.ESCALATED),
    }

    uuid = models.UUIDField("UUID", default=uuid4, unique=True, editable=False)
    asset = models.OneToOneField(Asset, on_delete=models.PROTECT, related_name="review")
    status = models.CharField(max_length=11, choices=Status, default=Status.CLASSIFYING)
    # 0 to 100: the highest confidence that sent it here, between 2 and 98. Images that no
    # classifier could judge have 100 and come first; those without findings have 0 or 1.
    risk = models.PositiveSmallIntegerField(default=0)
    top_category = models.CharField(
        max_length=60, blank=True, help_text="The category that weighs most."
    )
    # All L1 categories found by any classifier, as bits (moderation.models.found_categories).
    # Queues and searches filter by these, not by the top category.
    found = models.PositiveSmallIntegerField(default=0, editable=False)
    # L1 of top_category, and the asset's source and provider, copied once. Queues filter by them
    # and order by risk, and one index can do both only within one table.
    top_category_l1 = models.CharField(
        "top category (level 1)", max_length=30, blank=True, editable=False
    )
    source = models.CharField(max_length=8, choices=Source, blank=True, editable=False)
    provider = models.CharField(max_length=40, blank=True, editable=False)
    # Images that look the same share it: the asset id of the first one. Null for an image without
    # near duplicates.
    near_duplicate_group = models.BigIntegerField(null=True, blank=True, editable=False)
    top_confidence = models.DecimalField(max_digits=5, decimal_places=2, null=True, blank=True)
    reason = models.TextField(
        blank=True,
        help_text="Sentence that names the policy rule that routed the image.",
    )
    policy = models.ForeignKey(Policy, null=True, blank=True, on_delete=models.PROTECT)
    # The person who requested or imported the image, if known: they may not decide it. Written
    # once, and stored here because the query for the next claim must not join.
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="requested_reviews",
        db_index=False,
        editable=False,
    )
    # The classifiers' results (moderation.models.classification_summary), constant once the last
    # one has finished: without it, the desk would read them from four tables for every decision.
    # Null until then, and in reviews older than this column.
    classification_summary = models.JSONField(null=True, blank=True, editable=False)
    claimed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="claimed_reviews",
        db_index=False,
    )
    claimed_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="decided_reviews",
        db_index=False,
        help_text="Person whose decision is in effect. Empty for the policy.",
    )
    # Escalated by a senior moderator, or a disagreement that no senior moderator may settle.
    # Computed from the decisions in effect, like the status.
    for_lead = models.BooleanField(
        "for the policy lead",
        default=False,
        editable=False,
        help_text="A policy lead decides this escalated image.",
    )
    # Copied from the approval in effect; false without one.
    is_blurred = models.BooleanField(
        "delivered blurred",
        default=False,
        editable=False,
        help_text="Programs get this approved image blurred.",
    )
    second_opinion = models.CharField(
        max_length=9, choices=SecondOpinion, blank=True, default=SecondOpinion.NONE
    )

    objects = ReviewQuerySet.as_manager()

    class Meta:
        indexes = [
            # The order indexes of queues. After the columns for lookup and order come the columns
            # of further filters, so that non-matching rows are skipped without reading the table.
            # They cover undecided reviews only (ReviewQuerySet.with_status): they stay small as the
            # record grows, and a decision removes a row without inserting it again.
            *(
                # Includes decided_at, always null here: without it, SQLite reads every row from the
                # table.
                models.Index(
                    fields=["status", *fields, "requested_by", "decided_at"],
                    name=f"review_{name}",
                    condition=Q(decided_at__isnull=True),
                )
                for name, fields in _QUEUE_INDEXES.items()
            ),
            # The same per L1 category found: an image is in the indexes of its own categories only.
            # decided_at, always null here, goes first: with two lookup columns, SQLite prefers
            # these to the index "queue".
            *(
                models.Index(
                    fields=[
                        "decided_at",
                        "status",
                        "-risk",
                        "id",
                        "source",
                        "provider",
                        "created_at",
                        "found",
                        "requested_by",
                    ],
                    name=f"review_found_{bit}",
                    condition=Q(decided_at__isnull=True)
                    & Q(HasFound(bit) if bit else HasFoundNothing()),
                )
                for bit in (0, *found.BITS.values())
            ),
            models.Index(
                fields=["status", "decided_at"],
                name="review_decided",
                condition=Q(decided_at__isnull=False),
            ),
            models.Index(
                fields=["claimed_by", "claimed_until"],
                name="review_claims",
                condition=Q(claimed_by__isnull=False),
            ),
            # For searches, including decided images: columns that no decision changes. Wrapped in a
            # function, because a planner might otherwise use these indexes for the order by id and
            # walk through all decided reviews.
            *(models.Index(Lower(column), name=f"review_{column}_lower") for column in SEARCHED_BY),
            # Small: few reviews get a second opinion. SQLite uses them only if the query repeats
            # their condition literally (ReviewQuerySet.awaiting_second_opinion).
            models.Index(
                fields=["second_opinion", "id"],
                name="review_second",
                condition=~Q(second_opinion=""),
            ),
            models.Index(
                fields=["second_opinion", "-risk", "id"],
                name="review_second_risk",
                condition=~Q(second_opinion=""),
            ),
            models.Index(
                fields=["near_duplicate_group"],
                name="review_look",
                condition=Q(near_duplicate_group__isnull=False),
            ),
            models.Index(fields=["created_at"], name="review_created"),
            models.Index(fields=["id"], name="review_blurred", condition=Q(is_blurred=True)),
            models.Index(
                fields=["-risk", "id"], name="review_for_lead", condition=Q(for_lead=True)
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="review_status_known",
                condition=one_of(
                    "status", ["classifying", "pending", "escalated", "approved", "rejected"]
                ),
            ),
            models.CheckConstraint(
                name="review_decided_iff_final",
                condition=Q(status__in=["approved", "rejected"], decided_at__isnull=False)
                | (~Q(status__in=["approved", "rejected"]) & Q(decided_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="review_blurred_is_approved",
                condition=Q(is_blurred=False) | Q(status="approved"),
            ),
            models.CheckConstraint(
                name="review_for_lead_is_escalated",
                condition=Q(for_lead=False) | Q(status="escalated"),
            ),
            models.CheckConstraint(
                name="review_claim_is_whole",
                condition=Q(claimed_by__isnull=True, claimed_until__isnull=True)
                | Q(claimed_by__isnull=False, claimed_until__isnull=False),
            ),
        ]
        permissions = [
            ("decide_review", "Can approve, reject and escalate"),
            (
                "decide_escalated_review",
                "Can decide escalated reviews and reverse anybody's decision",
            ),
            ("decide_lead_review", "Can decide reviews escalated to the policy lead"),
        ]

    def __str__(self) -> str:
        return f"Review of {self.asset}"

    def get_absolute_url(self) -> str:
        return build_url("moderation:review-detail", self.uuid)

    @property
    def status_name(self) -> str:
        name = str(Review.Status(self.status).label)
        return f"{name} blurred" if self.is_blurred else name

    @property
    def top_category_name(self) -> str:
        """Return the name of the top category, or a short phrase if there is none."""
        if self.top_category:
            return taxonomy.join_names([self.top_category])
        if self.top_confidence is not None:
            return "NSFW score"
        if self.status == Review.Status.CLASSIFYING:
            return "Not checked yet"
        return WITHOUT_CATEGORY.get(self.risk, NO_FINDINGS)

    @property
    def shown_risk(self) -> int | None:
        """Return the risk if a confidence is shown and the risk differs from it, else None.

        It differs where a classifier could not judge the image: such images come first. Without a
        confidence, the risk is only a sort key, and could be taken for a confidence.
        """
        confidence = self.top_confidence
        if confidence is None:
            return None
        # Older reviews have the confidence itself as their risk.
        return None if self.risk in (int(confidence), rank_confidence(confidence)) else self.risk

    @property
    def is_decided(self) -> bool:
        return self.status in self.DECIDED

    def wants_opinion_of(self, user: Any) -> bool:
        """Return whether the review waits for a second opinion and this user did not decide it."""
        return (
            self.is_decided
            and self.second_opinion == self.SecondOpinion.WANTED
            and self.decided_by_id != user.pk
        )

    @property
    def is_audit(self) -> bool:
        """Return whether it waits for a blind check of the policy's decision.

        The person who checks it must not see the classifiers' results either.
        """
        return (
            self.is_decided
            and self.second_opinion == self.SecondOpinion.WANTED
            and self.decided_by_id is None
        )

    def is_blind_to(self, user: Any) -> bool:
        """Return whether this user holds it for a second opinion.

        No page may show them the first decision meanwhile.
        """
        return self.wants_opinion_of(user) and self.is_held_by(user)

    def is_golden_to(self, user: Any) -> bool:
        """Return whether this user holds it as a golden image: settled, no opinion wanted.

        Nothing else lets a person hold a settled image. All pages show it to them as waiting.
        """
        return (
            self.is_decided
            and self.second_opinion != self.SecondOpinion.WANTED
            and self.is_held_by(user)
        )

    def appear_waiting(self) -> None:
        """Make this instance look like a waiting review without decisions. It must not be saved."""
        shown = {
            "status": self.Status.PENDING,
            "second_opinion": self.SecondOpinion.NONE,
            "decided_at": None,
            "decided_by": None,
            "is_blurred": False,
            "was_decided": False,  # as annotated by a claim
        }
        for name, value in shown.items():
            setattr(self, name, value)

    def is_own_request_of(self, user: Any) -> bool:
        """Return whether this user requested the image and others must decide it."""
        return self.requested_by_id == user.pk and not settings.DECIDE_OWN_REQUESTS

    @property
    def is_disputed(self) -> bool:
        """Return whether two opinions differ and the disagreement is not settled."""
        return (
            self.status == self.Status.ESCALATED
            and self.second_opinion == self.SecondOpinion.DISAGREED
        )

    def missing_rank(self, user: User) -> str:
        """Return the role that has to decide it instead of this user: "" if they may.

        "moderator", "senior" or "lead".
        """
        if self.for_lead:
            return "" if user.has_perm(self.LEAD_PERMISSION) else "lead"
        if not user.has_perm("moderation.decide_review"):
            return "moderator"
        is_escalated = self.status == self.Status.ESCALATED
        if is_escalated and not user.has_perm("moderation.decide_escalated_review"):
            return "senior"
        return ""

    @property
    def is_claimed(self) -> bool:
        return self.claimed_until is not None and self.claimed_until >= timezone.now()

    def is_held_by(self, user: Any) -> bool:
        return self.is_claimed and self.claimed_by_id == user.pk

    def claim_for(self, user: User) -> bool:
        """Claim the review or renew the claim; return whether the user now holds it.

        One UPDATE: two people cannot both win.
        """
        rows = Review.objects.filter(pk=self.pk).open_for(user).not_disputed_by(user)
        if not settings.DECIDE_OWN_REQUESTS:
            rows = rows.not_requested_by(user)
        until = timezone.now() + CLAIM_LASTS
        won = bool(rows.available_to(user).update(claimed_by=user, claimed_until=until))
        self.refresh_from_db()
        return won

    def hold_golden(self, user: User) -> bool:
        """Claim a golden image, or renew the claim; return whether the user now holds it.

        The caller has checked that the image was given to the user.
        """
        rows = Review.objects.filter(pk=self.pk, status__in=Review.DECIDED).exclude(
            second_opinion=Review.SecondOpinion.WANTED
        )
        until = timezone.now() + CLAIM_LASTS
        won = bool(rows.available_to(user).update(claimed_by=user, claimed_until=until))
        self.refresh_from_db()
        return won

    def release(self, user: User) -> None:
        """Release this user's claim. Other people's claims are unchanged."""
        Review.objects.filter(pk=self.pk, claimed_by=user).update(
            claimed_by=None, claimed_until=None
        )
