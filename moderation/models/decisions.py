"""Decisions: the append-only record, in which each row is chained to the previous one by a hash.

Triggers in both databases refuse UPDATE and DELETE (moderation.append_only). A change that bypasses
them breaks the chain, and the verification finds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Self
from uuid import UUID, uuid4

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from generation.core.db.state_machine import one_of
from generation.core.urls import build_url
from moderation import taxonomy
from moderation.models import chain
from moderation.models.policies import Policy
from moderation.models.record_events import RecordEvent
from moderation.models.reviews import UNDO_WINDOW, Review


class Verdict(models.TextChoices):
    APPROVE = "approve", "Approve"
    REJECT = "reject", "Reject"
    ESCALATE = "escalate", "Escalate"
    REVERSE = "reopen", "Reverse"


PAST_TENSE = {
    Verdict.APPROVE: "approved",
    Verdict.REJECT: "rejected",
    Verdict.ESCALATE: "escalated",
    Verdict.REVERSE: "reversed",
}


def describe_verdict(verdict: Verdict, *, is_blurred: bool = False) -> str:
    """Return the past tense of a verdict, for example "approved blurred"."""
    return f"{PAST_TENSE[verdict]} blurred" if is_blurred else PAST_TENSE[verdict]


STATUS_AFTER = {
    Verdict.APPROVE: Review.Status.APPROVED,
    Verdict.REJECT: Review.Status.REJECTED,
    Verdict.ESCALATE: Review.Status.ESCALATED,
}


class ChainHead(models.Model):
    """The ends of both chains and the key in use: a single row, locked by each append."""

    sequence = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64, default="")
    events = models.BigIntegerField(
        default=0, db_default=0, help_text="Sequence of the last event."
    )
    event_hash = models.CharField(max_length=64, default="", db_default="", blank=True)
    # The form of new decisions. Raised by the seal.
    version = models.PositiveSmallIntegerField(default=chain.UNSIGNED, db_default=chain.UNSIGNED)
    key_id = models.CharField("key", max_length=8, default="", db_default="", blank=True)

    def __str__(self) -> str:
        return f"{self.sequence}: {self.hash[:12]}"

    @property
    def is_sealed(self) -> bool:
        return self.version == chain.SIGNED


class DecisionQuerySet(models.QuerySet["Decision"]):
    def newest_first(self) -> Self:
        return self.order_by("-sequence")

    def for_list(self) -> Self:
        """Select only the columns and related rows that a list of decisions shows."""
        return self.select_related("review__asset", "policy", "reversed_by").only(
            "uuid",
            "verdict",
            "categories",
            "note",
            "is_blurred",
            "reviewer",
            "reviewer_name",
            "by_policy",
            "seconds",
            "second_of",
            "batch",
            "created_at",
            "sequence",
            "policy__version",
            "reversed_by__reviewer_name",
            "reversed_by__created_at",
            "review__uuid",
            "review__top_category_l1",
            "review__requested_by",
            "review__asset__uuid",
            "review__asset__preview",
        )

    def effective(self) -> Self:
        """Exclude reversals, reversed decisions, and second opinions on reversed decisions."""
        rows = self.filter(reversed_by__isnull=True).exclude(verdict=Verdict.REVERSE)
        return rows.filter(second_of__reversed_by__isnull=True)

    def list_effective(self, review: Review) -> list[Decision]:
        """Return one review's decisions in effect, oldest first."""
        return list(
            self.effective().filter(review=review).select_related("second_of").order_by("sequence")
        )

    def of_batch(self, batch: UUID) -> Self:
        """Return a batch's decisions in order, with the related rows that a list shows."""
        rows = self.filter(batch=batch).order_by("sequence")
        return rows.select_related(
            "review__asset", "reviewer", "policy", "reversed_by", "second_of"
        )

    def map_last_effective(self, review_ids: Iterable[int]) -> dict[int, Decision]:
        """Return the newest decision in effect of each review, by review id."""
        rows = self.filter(review__in=list(review_ids), reversed_by__isnull=True).exclude(
            verdict=Verdict.REVERSE
        )
        return {
            row.review_id: row
            for row in rows.filter(second_of__reversed_by__isnull=True).order_by("sequence")
        }

    def find_newest(self, review: Review) -> Decision | None:
        return (
            self.filter(review=review).newest_first().select_related("reviewer", "policy").first()
        )


class Decision(models.Model):
    """A row of the record: a verdict of a person or of the policy on one review."""

    uuid = models.UUIDField("UUID", default=uuid4, unique=True, editable=False)
    review = models.ForeignKey(Review, on_delete=models.PROTECT, related_name="decisions")
    verdict = models.CharField(max_length=8, choices=Verdict)
    categories = models.JSONField(
        default=list, help_text="Slugs of the taxonomy, L2 if there is one."
    )
    note = models.TextField(blank=True)
    is_blurred = models.BooleanField(
        "delivered blurred", default=False, help_text="An approval to be delivered blurred."
    )
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="decisions",
        db_index=False,
    )
    # The name at the time of the decision: accounts can be renamed.
    reviewer_name = models.CharField(max_length=150, blank=True)
    policy = models.ForeignKey(Policy, null=True, blank=True, on_delete=models.PROTECT)
    # ``policy`` sent the image to its queue; ``policy_in_force`` was active at the time of the
    # decision. Null in decisions older than this column: PolicyActivation has it for them.
    policy_in_force = models.ForeignKey(
        Policy,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="decisions_in_force",
        db_index=False,
    )
    by_policy = models.BooleanField(
        "automatic decision", default=False, help_text="Decided by the policy without a person."
    )
    seconds = models.DecimalField(
        max_digits=8,
        decimal_places=1,
        null=True,
        blank=True,
        help_text="Seconds on the reviewer's screen, if known.",
    )
    reverses = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="reversed_by"
    )
    second_of = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="second_opinions",
        db_index=False,
        help_text="First decision, if this one is a second opinion.",
    )
    batch = models.UUIDField(
        null=True, blank=True, help_text="Shared by all decisions of one batch."
    )
    created_at = models.DateTimeField(default=timezone.now)
    sequence = models.BigIntegerField(unique=True)
    previous_hash = models.CharField(max_length=64, blank=True)
    # Not unique in the database: it covers the sequence and the UUID, which are. An index of
    # hashes, which are random, would cost every decision two more pages from the disk once the
    # record outgrows the memory.
    hash = models.CharField(max_length=64)
    # Database defaults: processes of an older version of Loupe do not know these columns.
    version = models.PositiveSmallIntegerField(
        default=chain.UNSIGNED,
        db_default=chain.UNSIGNED,
        editable=False,
        help_text="Form of the hash: 1 without a key, 2 signed.",
    )
    evidence = models.CharField(
        max_length=64,
        default="",
        db_default="",
        blank=True,
        editable=False,
        help_text="SHA-256 of the classifiers' results at that time.",
    )

    objects = DecisionQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["created_at", "sequence"], name="decision_newest"),
            # The verdict makes it a covering index for the count of a person's decisions of today.
            models.Index(fields=["reviewer", "-sequence", "verdict"], name="decision_mine"),
            models.Index(fields=["reviewer_name", "-sequence"], name="decision_by_name"),
            models.Index(fields=["verdict", "-sequence"], name="decision_verdict"),
            models.Index(fields=["batch"], name="decision_batch", condition=Q(batch__isnull=False)),
            models.Index(
                fields=["second_of"], name="decision_second", condition=Q(second_of__isnull=False)
            ),
            # In addition to the unique index: few rows are reversals, so SQLite's statistics rate
            # the unique index as useless, and SQLite then reads the whole record for each
            # decision's reversal.
            models.Index(
                fields=["reverses"], name="decision_reverses", condition=Q(reverses__isnull=False)
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="decision_verdict_known",
                condition=one_of("verdict", ["approve", "reject", "escalate", "reopen"]),
            ),
            models.CheckConstraint(
                name="decision_by_person_or_policy",
                condition=Q(by_policy=True, reviewer__isnull=True, policy__isnull=False)
                | Q(by_policy=False, reviewer__isnull=False),
            ),
            models.CheckConstraint(
                name="decision_reversal_names_its_object",
                condition=Q(verdict="reopen", reverses__isnull=False)
                | (~Q(verdict="reopen") & Q(reverses__isnull=True)),
            ),
            models.CheckConstraint(
                name="decision_rejection_has_a_category",
                # Some classifiers give only a score, so a policy may reject without a category.
                condition=~Q(verdict="reject") | Q(by_policy=True) | ~Q(categories=[]),
            ),
            models.CheckConstraint(
                name="decision_blurred_is_an_approval",
                condition=Q(is_blurred=False) | Q(verdict="approve"),
            ),
        ]
        permissions = [("export_decision", "Can export decisions")]

    def __str__(self) -> str:
        return f"{self.past_tense.capitalize()} by {self.author}"

    def get_absolute_url(self) -> str:
        return build_url("moderation:review-detail", self.review.uuid)

    @property
    def past_tense(self) -> str:
        return describe_verdict(Verdict(self.verdict), is_blurred=self.is_blurred)

    @property
    def author(self) -> str:
        return (
            f"policy version {self.policy.version}"
            if self.by_policy and self.policy
            else self.reviewer_name
        )

    @property
    def category_names(self) -> str:
        return taxonomy.join_names(self.categories)

    @property
    def disagrees(self) -> bool:
        """Return whether this is a second opinion with another verdict than the first one.

        Two rejections agree, whatever their categories. Two approvals agree if both or neither are
        to be delivered blurred.
        """
        first = self.second_of
        return first is not None and (first.verdict, first.is_blurred) != (
            self.verdict,
            self.is_blurred,
        )

    def may_be_reversed_by(self, user: Any) -> bool:
        """Return whether a user may reverse this decision.

        The author may within the undo window. Seniors may at any time, except other people's
        decisions on images that they requested themselves.
        """
        if self.verdict == Verdict.REVERSE or not user.is_active or hasattr(self, "reversed_by"):
            return False
        if self.reviewer_id != user.pk and user.has_perm("moderation.decide_escalated_review"):
            return not self.review.is_own_request_of(user)
        if user.has_perm("moderation.decide_escalated_review"):
            return True
        return self.reviewer_id == user.pk and timezone.now() - self.created_at <= UNDO_WINDOW

    def compute_hash(self, events: chain.EventIndex | None = None) -> str:
        """Return the hash of this decision. ``events``: all stored ones, if they were read before.

        Raises RecordKeyError.
        """
        if events is None:
            signed = self.version != chain.UNSIGNED
            events = load_event_index(until=self.sequence) if signed else chain.EventIndex()
        return chain.compute_hash(self.read_covered(), events)

    def read_covered(self) -> dict[str, Any]:
        """Return the values that the hash covers, with those of the related rows."""
        values: dict[str, Any] = {name: self._read(name) for name in chain.OWN}
        if self.version == chain.UNSIGNED:
            return values
        review = self.review
        asset = review.asset
        return values | {
            "review__uuid": review.uuid,
            "review__requested_by": review.requested_by_id,
            "review__asset__uuid": asset.uuid,
            "review__asset__sha256": asset.sha256,
            "review__asset__source_sha256": asset.source_sha256,
            "review__asset__original_sha256": asset.original_sha256,
            "review__asset__differs": asset.differs,
            "reverses__uuid": self.reverses and self.reverses.uuid,
            "second_of__uuid": self.second_of and self.second_of.uuid,
        }

    def _read(self, name: str) -> Any:
        return getattr(self, _ATTRIBUTES.get(name, name))


# Foreign keys, which are covered as their values.
_ATTRIBUTES = {
    name: f"{name}_id"
    for name in ("review", "reviewer", "policy", "policy_in_force", "reverses", "second_of")
}


def load_event_index(*, until: int | None = None) -> chain.EventIndex:
    """Return the events that decisions cover. ``until``: a decision, events after it are left out.

    The key is named by the events themselves: each one that changes it, and the seal. An event
    that cannot be read is left out: the check of the events reports it.
    """
    rows = RecordEvent.objects.order_by("sequence")
    if until is not None:
        rows = rows.filter(decisions__lt=until)
    keys = _read_keys(rows)
    decisions, hashes, key_ids = [], [], []
    sealed_after, key_id = None, ""
    # Any: SQLite may give a value of another type.
    values: Any = rows.values_list("sequence", "kind", "decisions", "hash")
    for sequence, kind, at, digest in values.iterator(chunk_size=2000):
        if not isinstance(at, int):
            continue
        if kind == RecordEvent.Kind.SEAL and sealed_after is None:
            sealed_after = at
        key_id = keys.get(sequence, key_id)
        decisions.append(at)
        hashes.append(str(digest))
        key_ids.append(key_id)
    return chain.EventIndex(
        decisions=decisions, hashes=hashes, key_ids=key_ids, sealed_after=sealed_after
    )


def _read_keys(rows: models.QuerySet[RecordEvent]) -> dict[int, str]:
    """Return the names of the keys that events introduce, by the sequence of the event."""
    changes = rows.filter(kind__in=[RecordEvent.Kind.SEAL, RecordEvent.Kind.KEY])
    found = {}
    for sequence in list(changes.values_list("sequence", flat=True)):
        with suppress(ValueError, TypeError, LookupError, AttributeError):
            found[sequence] = str(changes.get(sequence=sequence).payload["key"])
    return found


def keep_effective(decisions: Iterable[Decision]) -> list[Decision]:
    """Return the decisions in effect among one review's decisions.

    Applies the rule of ``DecisionQuerySet.effective`` to a list, such as the decisions up to a past
    time.
    """
    given = list(decisions)
    gone = {row.reverses_id for row in given if row.reverses_id is not None}
    return [
        row
        for row in given
        if row.verdict != Verdict.REVERSE and row.pk not in gone and row.second_of_id not in gone
    ]


def status_after(effective: Iterable[Decision]) -> Review.Status:
    """Return a review's status after its decisions in effect, given oldest first."""
    status = Review.Status.PENDING
    for decision in effective:
        if decision.second_of is None:
            status = STATUS_AFTER[Verdict(decision.verdict)]
        elif decision.disagrees:
            status = Review.Status.ESCALATED
    return status


def is_for_lead_after(effective: Sequence[Decision]) -> bool:
    """Return whether the last decision in effect escalated an image that was escalated already."""
    return (
        bool(effective)
        and effective[-1].verdict == Verdict.ESCALATE
        and effective[-1].second_of is None
        and status_after(effective[:-1]) == Review.Status.ESCALATED
    )


def is_blurred_after(effective: Sequence[Decision]) -> bool:
    """Return whether a review's image is delivered blurred after its decisions in effect."""
    opinions = [row for row in effective if row.second_of is None]
    return (
        bool(opinions)
        and opinions[-1].is_blurred
        and status_after(effective) == Review.Status.APPROVED
    )
