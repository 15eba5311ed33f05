"""A review: where one asset stands. Its status is a projection of its decisions; a test replays
them.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Lower
from django.utils import timezone

from generation.core.db.state_machine import one_of
from generation.core.urls import address
from generation.models import Asset, Source, StateMachine
from moderation import taxonomy
from moderation.models import found_categories as found
from moderation.models.found_categories import HasFound, HasFoundNothing
from moderation.models.policies import Policy
from moderation.policy_engine import FLAGGED_RISK, PARTLY_JUDGED_PRIORITY, UNJUDGED_RISK

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# What there is to say of an image for which no category and no score speaks, by its priority.
WITHOUT_CATEGORY = {
    UNJUDGED_RISK: "Not judged",
    PARTLY_JUDGED_PRIORITY: "Judged in part",
    FLAGGED_RISK: "Flagged, no category",
}
NO_FINDINGS = "No findings"
CLAIM_LASTS = timedelta(minutes=5)
UNDO_WINDOW = timedelta(minutes=10)


SEARCHED_BY = ("source", "provider")
# Index → its columns behind the status.
_DEALT_BY = {
    # With what tells whether somebody has it: at the head of the queue are all those that others
    # hold.
    "queue": ["-risk", "id", "top_category_l1", "created_at", "claimed_until"],
    "oldest": ["id", "top_category_l1", "found", "source", "provider"],
    "source": ["source", "-risk", "id", "top_category_l1", "provider"],
    "provider": ["provider", "-risk", "id", "top_category_l1", "source"],
}


class ReviewQuerySet(models.QuerySet["Review"]):
    def with_status(self, status: Review.Status) -> Self:
        # What is said of decided_at follows from it. The databases cannot know that, and need it
        # said to use the indexes that hold only what is decided, or only what is not.
        return self.filter(status=status, decided_at__isnull=status not in Review.DECIDED)

    def waiting(self) -> Self:
        return self.with_status(Review.Status.PENDING)

    def available_to(self, user: User) -> Self:
        """What this person could take now: free, lapsed, or already theirs."""
        return self.filter(
            Q(claimed_until__isnull=True) | Q(claimed_until__lt=timezone.now()) | Q(claimed_by=user)
        )

    def available(self, now: datetime) -> Self:
        """Claimed by nobody, or no longer."""
        return self.filter(Q(claimed_until__isnull=True) | Q(claimed_until__lt=now))

    def not_requested_by(self, user: User | int) -> Self:
        """Images that somebody else asked for, or nobody who is known."""
        return self.exclude(requested_by=user)

    def not_disputed_by(self, user: User | int) -> Self:
        return self.exclude(self._dispute_of(user))

    def disputed_by(self, user: User | int) -> Self:
        """The disagreements that this person is half of, and that somebody else settles."""
        return self.filter(self._dispute_of(user))

    def _dispute_of(self, user: User | int) -> Q:
        # What stands of a disputed review's record is the two opinions, so whoever made one of them
        # is a party.
        opinions = Review.objects.filter(
            pk=OuterRef("pk"),
            decisions__reviewer=user,
            decisions__reverses__isnull=True,
            decisions__reversed_by__isnull=True,
            decisions__second_of__reversed_by__isnull=True,
        )
        return Q(
            Exists(opinions),
            status=Review.Status.ESCALATED,
            second_opinion=Review.SecondOpinion.DISAGREED,
        )

    def for_screen(self) -> Self:
        """With all that the review page reads of other tables."""
        return self.for_panel().select_related("claimed_by")

    def for_panel(self) -> Self:
        """As ``for_screen``, without the previous holder of the claim."""
        return self.select_related("asset__request__requested_by", "asset__stored_by")

    def for_tiles(self) -> Self:
        """With what a page of many images shows of each, and no column more."""
        return self.select_related("asset__request", "claimed_by").only(
            "uuid",
            "status",
            "risk",
            "top_category",
            "top_category_l1",
            "top_confidence",
            "reason",
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
        """Riskiest first, then oldest: the order in which people are given work."""
        return self.order_by("-risk", "pk")

    def awaiting_second_opinion(self) -> Self:
        """Decided, and waiting for a second opinion."""
        # The second condition follows from the first. SQLite cannot know that and needs it to use
        # the partial indexes.
        wanted = self.filter(second_opinion=Review.SecondOpinion.WANTED, status__in=Review.DECIDED)
        return wanted.exclude(second_opinion=Review.SecondOpinion.NONE)

    def open_for(self, user: User | int) -> Self:
        """What waits for a decision, or for this person's second opinion."""
        second = Q(second_opinion=Review.SecondOpinion.WANTED, status__in=Review.DECIDED) & ~Q(
            decided_by=user
        )
        return self.filter(Q(status__in=[Review.Status.PENDING, Review.Status.ESCALATED]) | second)

    def blind_to(self, user: User) -> Self:
        """What this person holds for a second opinion: no page may tell them meanwhile what was
        decided.
        """
        wanted = self.held_by(user).filter(
            second_opinion=Review.SecondOpinion.WANTED, status__in=Review.DECIDED
        )
        return wanted.exclude(decided_by=user)


class Review(StateMachine):
    class Status(models.TextChoices):
        CLASSIFYING = "classifying", "Being classified"
        PENDING = "pending", "Awaiting a decision"
        ESCALATED = "escalated", "Escalated"
        APPROVED = "approved", "Approved"
        REJECTED = "rejected", "Rejected"

    class SecondOpinion(models.TextChoices):
        """Whether somebody else looks at a decided image too, without seeing what was decided."""

        NONE = "", "None"
        WANTED = "wanted", "Wanted"
        AGREED = "agreed", "Agreed"
        DISAGREED = "disagreed", "Disagreed"

    DECIDED = (Status.APPROVED, Status.REJECTED)
    TRANSITIONS: ClassVar[dict[str, tuple[str, ...]]] = {
        Status.CLASSIFYING: (Status.PENDING, Status.APPROVED, Status.REJECTED),
        Status.PENDING: (Status.APPROVED, Status.REJECTED, Status.ESCALATED),
        # Back to pending by a reversal alone: who escalated may take that back within the undo
        # window.
        Status.ESCALATED: (Status.APPROVED, Status.REJECTED, Status.PENDING),
        # Back to where it waited: what a senior decided about an escalated review stays the
        # seniors'. A second opinion that disagrees escalates too.
        Status.APPROVED: (Status.PENDING, Status.ESCALATED),
        Status.REJECTED: (Status.PENDING, Status.ESCALATED),
    }

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    asset = models.OneToOneField(Asset, on_delete=models.PROTECT, related_name="review")
    status = models.CharField(max_length=11, choices=Status, default=Status.CLASSIFYING)
    # 0..100, the highest confidence that sent it here; what could not be judged at all comes first,
    # at 100.
    risk = models.PositiveSmallIntegerField(default=0)
    top_category = models.CharField(
        max_length=60, blank=True, help_text="The category that weighs most."
    )
    # What any classifier found, as bits (moderation.models.found): queues and searches go by it,
    # not by the headline.
    found = models.PositiveSmallIntegerField(default=0, editable=False)
    # Its first level; source and provider of the asset: here too, because queues filter by them and
    # are ordered by priority, and one index can only do both on one table. Written once, with what
    # they copy.
    top_category_l1 = models.CharField(max_length=30, blank=True, editable=False)
    source = models.CharField(max_length=8, choices=Source, blank=True, editable=False)
    provider = models.CharField(max_length=40, blank=True, editable=False)
    # Images that are alike to the eye share it: the asset id of the first of them. Empty for one of
    # its kind.
    near_duplicate_group = models.BigIntegerField(null=True, blank=True, editable=False)
    top_confidence = models.DecimalField(max_digits=5, decimal_places=2, null=True, blank=True)
    reason = models.TextField(
        blank=True,
        help_text="Which rule of which policy sent it here or settled it, as a sentence.",
    )
    policy = models.ForeignKey(Policy, null=True, blank=True, on_delete=models.PROTECT)
    # Who asked for the image or brought it, as far as that is known: they do not decide it. Written
    # once. Here, because every deal asks for it and may join nothing.
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="requested_reviews",
        db_index=False,
        editable=False,
    )
    # What the classifiers said (moderation.models.said), which nothing changes once the last of
    # them has ended: the desk would otherwise gather it from four places of the disk for every
    # decision. Empty until then, and in reviews that are older than this column.
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
        help_text="Whose decision stands; empty for the policy's.",
    )
    second_opinion = models.CharField(
        max_length=9, choices=SecondOpinion, blank=True, default=SecondOpinion.NONE
    )

    objects = ReviewQuerySet.as_manager()

    class Meta:
        indexes = [
            # What queues are dealt from. Behind the columns that are sought and ordered by stand
            # those that a second filter looks at: it then passes over what does not match in the
            # index, without a visit to each row. They hold what is not decided and nothing else, so
            # they stay small however long the record grows, and a decision leaves them without
            # entering them again (ReviewQuerySet.standing_at).
            *(
                # decided_at, always empty here, for SQLite: where it cannot read that in the index
                # it reads every row.
                models.Index(
                    fields=["status", *fields, "requested_by", "decided_at"],
                    name=f"review_{name}",
                    condition=Q(decided_at__isnull=True),
                )
                for name, fields in _DEALT_BY.items()
            ),
            # The same for what was found, an index for each group: an image stands in those of its
            # own groups alone. decided_at goes first, always empty: two columns sought make SQLite
            # prefer it to the index "queue".
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
            # What searches ask, of decided images too: columns that no decision changes. In a
            # function, lest a planner deal from them in the order of ids, which they have too, and
            # walk through all that was ever decided.
            *(models.Index(Lower(column), name=f"review_{column}_lower") for column in SEARCHED_BY),
            # Small, because few reviews are ever looked at twice. SQLite uses them only where their
            # condition stands in the query word for word (ReviewQuerySet.wanted_again).
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
        ]

    def __str__(self) -> str:
        return f"Review of {self.asset}"

    def get_absolute_url(self) -> str:
        return address("moderation:review-detail", self.uuid)

    @property
    def status_name(self) -> str:
        return str(Review.Status(self.status).label)

    @property
    def top_category_name(self) -> str:
        """The category in words; what else classifiers had to say, in two or three."""
        if self.top_category:
            return taxonomy.names([self.top_category])
        if self.top_confidence is not None:
            return "NSFW score"
        if self.status == Review.Status.CLASSIFYING:
            return "Not checked yet"
        return WITHOUT_CATEGORY.get(self.risk, NO_FINDINGS)

    @property
    def shown_risk(self) -> int | None:
        """What queues go by, where it is not the confidence that is shown: what nobody could judge
        comes first.
        """
        confidence = self.top_confidence
        return None if confidence is not None and int(confidence) == self.risk else self.risk

    @property
    def is_decided(self) -> bool:
        return self.status in self.DECIDED

    def wants_opinion_of(self, user: Any) -> bool:
        """Whether this person is to judge it without seeing what somebody else has decided."""
        return (
            self.is_decided
            and self.second_opinion == self.SecondOpinion.WANTED
            and self.decided_by_id != user.pk
        )

    def is_blind_to(self, user: Any) -> bool:
        """Whether they hold it for a second opinion, so that no page may tell them what was
        decided.
        """
        return self.wants_opinion_of(user) and self.is_held_by(user)

    def is_own_request_of(self, user: Any) -> bool:
        """Whether this person asked for the image, so that others decide it."""
        return self.requested_by_id == user.pk and not settings.DECIDE_OWN_REQUESTS

    @property
    def is_disputed(self) -> bool:
        """Two people disagreed, and nobody has settled it yet."""
        return (
            self.status == self.Status.ESCALATED
            and self.second_opinion == self.SecondOpinion.DISAGREED
        )

    @property
    def is_claimed(self) -> bool:
        return self.claimed_until is not None and self.claimed_until >= timezone.now()

    def is_held_by(self, user: Any) -> bool:
        return self.is_claimed and self.claimed_by_id == user.pk

    def claim_for(self, user: User) -> bool:
        """Take or renew the claim; whether it is now theirs. One UPDATE, so two people can never
        both win.
        """
        rows = Review.objects.filter(pk=self.pk).open_for(user).not_disputed_by(user)
        if not settings.DECIDE_OWN_REQUESTS:
            rows = rows.not_requested_by(user)
        until = timezone.now() + CLAIM_LASTS
        won = bool(rows.available_to(user).update(claimed_by=user, claimed_until=until))
        self.refresh_from_db()
        return won

    def release(self, user: User) -> None:
        """Give the claim back. Somebody else's is left alone."""
        Review.objects.filter(pk=self.pk, claimed_by=user).update(
            claimed_by=None, claimed_until=None
        )
