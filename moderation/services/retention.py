"""Removal of images by rule, and erasure of an end user. A legal hold wins over both.

Both mark images in batches, each in one transaction that locks the images and checks them again.
Then they delete the files (``generation.services.purging``). An undecided image is removed only by
a rule for undecided images or an erasure, and is rejected in the same transaction.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Sum
from django.utils import timezone

from generation import jobs
from generation.core.storage import StorageUnavailableError
from generation.models import Asset, GenerationRequest
from generation.services import purging, storage_checks
from generation.services.purging import Extent
from moderation.models import (
    CalibrationImage,
    Classification,
    Embedding,
    Erasure,
    GoldenImage,
    LegalHold,
    Policy,
    RetentionEvent,
    RetentionRule,
    Review,
    Verdict,
)
from moderation.models.classification_summary import remove_words
from moderation.models.retention import is_held
from moderation.services import webhook_events
from moderation.services.audit_log import record_decision
from moderation.services.classification import EARLIER

if TYPE_CHECKING:
    from django.contrib.auth.models import User

log = logging.getLogger("loupe.retention")

EVERY = timedelta(hours=1)
LEASE = timedelta(minutes=5)  # longer than a batch takes
BATCH = 100
REMOVED = "The image was removed before it was judged."
END_USER_MAX = 200
Status = RetentionRule.Status
# Parts of a raw result on which an outcome depends. The others can hold words about a person.
KEPT_ANSWERS = ("level", "ranks", "sorting", "asking", "matches", "no_evidence")
NOTE_REMOVED = "The classifier's note was removed with the image's texts."
STATUSES = {
    Status.DECIDED: Review.DECIDED,
    Status.APPROVED: (Review.Status.APPROVED,),
    Status.REJECTED: (Review.Status.REJECTED,),
    Status.UNDECIDED: tuple(
        status for status in Review.Status.values if status not in Review.DECIDED
    ),
}


class RetentionError(ValueError):
    """A refused change. ``str(error)`` is a message for the user."""


# --- Selection ---
def find_due(rule: RetentionRule, now: datetime | None = None) -> QuerySet[Asset]:
    """Return the images that a rule matches, those on legal hold and in use included."""
    before = (now or timezone.now()) - timedelta(days=rule.days)
    rows = Asset.objects.with_files().filter(review__status__in=STATUSES[Status(rule.status)])
    if rule.status == Status.UNDECIDED:
        rows = rows.filter(review__decided_at__isnull=True, review__created_at__lt=before)
    else:
        rows = rows.filter(review__decided_at__lt=before)
    if rule.source:
        rows = rows.filter(source=rule.source)
    if rule.end_user:
        rows = rows.filter(purging.find_by_end_user(rule.end_user))
    return rows


def is_in_use() -> Q:
    """Return the condition that an image is golden, or part of an open calibration session.

    Rules leave such images in place; an erasure does not.
    """
    review = OuterRef("review")
    golden = GoldenImage.objects.in_use().filter(review=review)
    judged = CalibrationImage.objects.filter(review=review, session__closed_at__isnull=True)
    return Q(Exists(golden)) | Q(Exists(judged))


def _is_claimed() -> Q:
    return Q(review__claimed_until__gte=timezone.now())


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Effect of a rule now. ``bytes`` are those of renditions and originals."""

    images: int
    bytes: int
    held: int
    in_use: int
    undecided: bool

    @property
    def is_empty(self) -> bool:
        return not (self.images or self.held or self.in_use)


def preview(rule: RetentionRule) -> Preview:
    """Return what a rule would remove now, without removing it."""
    found = find_due(rule)
    free = found.exclude(is_held()).exclude(is_in_use())
    sums = free.aggregate(
        rendered=Sum("size"), received=Sum("original_size", filter=~Q(original=""))
    )
    return Preview(
        images=free.count(),
        bytes=(sums["rendered"] or 0) + (sums["received"] or 0),
        held=found.filter(is_held()).count(),
        in_use=found.exclude(is_held()).filter(is_in_use()).count(),
        undecided=rule.status == Status.UNDECIDED,
    )


# --- Rules ---
def save_rule(*, rule: RetentionRule, user: User) -> RetentionRule:
    """Store a new rule, or changes of one. A changed rule is switched off: preview it again."""
    is_new = rule.pk is None
    with transaction.atomic():
        rule.is_on, rule.due_at, rule.lease = False, None, None
        if is_new:
            rule.created_by = user
        rule.save()
        _note(rule, f"{'Added' if is_new else 'Changed'}, off: {rule.describe()}", user)
    return rule


def switch_rule(*, rule: RetentionRule, user: User, is_on: bool) -> None:
    """Switch a rule on or off. On, it runs at once and every hour."""
    due_at = timezone.now() if is_on else None
    with transaction.atomic():
        rows = RetentionRule.objects.filter(pk=rule.pk, is_on=not is_on)
        if rows.update(is_on=is_on, due_at=due_at, lease=None, error=""):
            _note(rule, f"Switched {'on' if is_on else 'off'}: {rule.describe()}", user)
            if is_on:
                jobs.wake("housekeeping")


def _note(rule: RetentionRule, action: str, user: User | None) -> None:
    _add_event(rule.name, action, user)


def _add_event(name: str, action: str, user: User | None) -> None:
    RetentionEvent.objects.create(
        name=name[:80],
        action=action[:300],
        person_name=user.get_username() if user else "",
    )


def run_due(*, go_on: Callable[[], bool]) -> None:
    """Run the rules that are due, one after another."""
    while go_on():
        claimed = RetentionRule.objects.claim(limit=1, lease=LEASE)
        if not claimed:
            return
        _run_rule(claimed[0], go_on)


def _run_rule(rule: RetentionRule, go_on: Callable[[], bool]) -> None:
    held = RetentionRule.objects.filter(pk=rule.pk, lease=rule.lease, is_on=True)
    extent = Extent(reason=rule.reason, has_texts=rule.purges_texts, has_hashes=rule.purges_hashes)
    try:
        while purging.finish(BATCH):
            pass
        while _purge_and_count(find_due(rule).exclude(is_in_use()), extent, held, "purged"):
            purging.finish(BATCH)
            if not go_on():
                held.update(due_at=timezone.now(), lease=None)
                return
        purging.finish(BATCH)
    except StorageUnavailableError as error:
        later = timezone.now() + storage_checks.RETRY_AFTER
        held.update(due_at=later, lease=None, error=str(error))
        return
    except Exception as error:
        log.exception("The retention rule %s failed", rule.pk)
        failed = f"It failed ({type(error).__name__}); see the worker's log."
        held.update(due_at=timezone.now() + EVERY, lease=None, error=failed)
        return
    now = timezone.now()
    held.update(due_at=now + EVERY, lease=None, last_run_at=now, error="")


def _purge_and_count(
    rows: QuerySet[Asset], extent: Extent, held: QuerySet[Any], counter: str
) -> bool:
    """Mark the next images and count them in the rule or erasure; return whether there were any."""
    with transaction.atomic():
        # First, because it locks the row: from here on, nobody can switch it off or take it over.
        if not held.update(due_at=timezone.now() + LEASE):
            return False
        count = _purge_batch(rows, extent)
        held.update(**{counter: F(counter) + count})
    return count > 0


def _purge_batch(rows: QuerySet[Asset], extent: Extent) -> int:
    """Mark the next images as removed; return their number. Waits for no claimed image."""
    rows = rows.exclude(is_held()).exclude(_is_claimed())
    with transaction.atomic():
        pks = list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH])
        if not pks:
            return 0
        # The locks come first: a hold, a claim or a reversal may have been committed meanwhile.
        list(Review.objects.select_for_update().filter(asset__in=pks).values_list("pk"))
        list(Asset.objects.select_for_update().filter(pk__in=pks).values_list("pk"))
        assets = list(rows.filter(pk__in=pks).select_related("review"))
        return purge_locked(assets, extent)


def purge_locked(assets: Sequence[Asset], extent: Extent) -> int:
    """Mark these images as removed, with all that is derived from them.

    The caller holds the locks in a transaction. ``purging.finish`` then deletes the files.
    """
    pks = [asset.pk for asset in assets]
    for asset in assets:
        _close_review(asset.review, extent)
    Classification.objects.filter(asset__in=pks, status=Classification.Status.QUEUED).update(
        status=Classification.Status.FAILED,
        due_at=None,
        lease=None,
        finished_at=timezone.now(),
        error=REMOVED,
    )
    Embedding.objects.filter(asset__in=pks).delete()
    GoldenImage.objects.in_use().filter(review__asset__in=pks).update(retired_at=timezone.now())
    if extent.has_texts:
        _remove_answers(pks)
    return purging.mark_purged(assets, extent)


def _remove_answers(pks: Sequence[int]) -> None:
    """Remove what classifiers said about images in words.

    Labels and all on which an outcome depends stay, and so do decisions: their notes are signed.
    """
    runs = list(Classification.objects.filter(asset__in=pks).only("pk", "raw"))
    for run in runs:
        run.raw = _reduce_raw(run.raw)
    Classification.objects.bulk_update(runs, ["raw"], batch_size=BATCH)
    reviews = list(
        Review.objects.filter(asset__in=pks, classification_summary__isnull=False).only(
            "pk", "classification_summary"
        )
    )
    for review in reviews:
        review.classification_summary = remove_words(review.classification_summary or [])
    Review.objects.bulk_update(reviews, ["classification_summary"], batch_size=BATCH)


def _reduce_raw(raw: Any) -> dict[str, Any]:
    found = raw if isinstance(raw, dict) else {}
    kept = {name: found[name] for name in KEPT_ANSWERS if name in found}
    if found.get("note"):  # that there was a doubt still counts
        kept["note"] = NOTE_REMOVED
    if EARLIER in found:
        kept[EARLIER] = [
            {**result, "raw": _reduce_raw(result.get("raw"))} for result in found[EARLIER]
        ]
    return kept


def _close_review(review: Review, extent: Extent) -> None:
    """Reject an undecided review; end the wait for a second opinion. The image cannot be seen."""
    if review.is_decided:
        Review.objects.filter(pk=review.pk, second_opinion=Review.SecondOpinion.WANTED).update(
            second_opinion=Review.SecondOpinion.NONE, claimed_by=None, claimed_until=None
        )
        return
    policy = Policy.objects.active()
    decision = record_decision(
        review=review,
        verdict=Verdict.REJECT,
        note=f"Removed undecided. {extent.reason}",
        policy_id=policy.pk,
        by_policy=True,
    )
    review.move_to(
        Review.Status.REJECTED,
        decided_at=decision.created_at,
        decided_by=None,
        policy=policy,
        reason="The image was removed before anybody decided it.",
        for_lead=False,
        claimed_by=None,
        claimed_until=None,
        second_opinion=Review.SecondOpinion.NONE,
    )
    webhook_events.queue_events(review)


def replay(entries: Iterable[Mapping[str, Any]]) -> int:
    """Remove again what a purge list names; return the number of images and requests.

    For a database that is older than the list. Legal holds do not count: the list is newer than
    they are, and its images are gone. Raises StorageUnavailableError.
    """
    count = 0
    for entry in entries:
        if "request" in entry:
            rows = GenerationRequest.objects.filter(uuid=entry["request"])
            texts = rows.exclude(prompt="", end_user="")
            count += purging.purge_request_texts(texts.values_list("pk", flat=True))
            continue
        with transaction.atomic():
            found = list(
                Asset.objects.select_for_update(of=("self",))
                .filter(uuid=entry["asset"], purged_at__isnull=True)
                .select_related("review")
            )
            count += purge_locked(found, Extent.from_entry(entry)) if found else 0
    while purging.finish(BATCH):
        pass
    return count


# --- Erasure ---
def hash_end_user(end_user: str) -> str:
    return hashlib.sha256(end_user.encode()).hexdigest()


def find_of_end_user(end_user: str) -> QuerySet[Asset]:
    """Return the stored images of an end user."""
    return Asset.objects.with_files().filter(purging.find_by_end_user(end_user))


def find_requests_of_end_user(end_user: str) -> QuerySet[GenerationRequest]:
    return GenerationRequest.objects.filter(end_user=end_user)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasurePreview:
    """Effect of an erasure now."""

    images: int
    held: int
    undecided: int
    requests: int
    open_requests: int


def preview_erasure(end_user: str) -> ErasurePreview:
    images, requests = find_of_end_user(end_user), find_requests_of_end_user(end_user)
    free = images.exclude(is_held())
    return ErasurePreview(
        images=free.count(),
        held=images.filter(is_held()).count(),
        undecided=free.exclude(review__status__in=Review.DECIDED).count(),
        requests=requests.count(),
        open_requests=requests.exclude(status__in=GenerationRequest.FINISHED).count(),
    )


def order_erasure(*, end_user: str, reason: str, user: User | None) -> Erasure:
    """Order the removal of all images and texts of an end user; a job carries it out.

    An order that is running already is returned. Raises RetentionError.
    """
    end_user, reason = end_user.strip(), reason.strip()
    if not end_user or len(end_user) > END_USER_MAX:
        raise RetentionError("Write the end user's id as programs send it: 1 to 200 characters.")
    if not reason:
        raise RetentionError("Write a reason, for example the number of the person's letter.")
    digest = hash_end_user(end_user)
    try:
        with transaction.atomic():
            erasure = Erasure.objects.create(
                end_user=end_user,
                end_user_sha256=digest,
                reason=reason[:200],
                ordered_by=user,
                due_at=timezone.now(),
            )
            _add_event("Erasure", f"Ordered ({digest[:12]}…): {reason}", user)
            jobs.wake("housekeeping")
    except IntegrityError:
        return Erasure.objects.get(end_user=end_user, status=Erasure.Status.RUNNING)
    return erasure


def run_erasures(*, go_on: Callable[[], bool]) -> None:
    """Carry out the erasures that are due."""
    while go_on():
        claimed = Erasure.objects.claim(limit=1, lease=LEASE)
        if not claimed:
            return
        run_erasure(claimed[0], go_on=go_on)


def run_erasure(erasure: Erasure, *, go_on: Callable[[], bool]) -> bool:
    """Continue an erasure; return whether it is finished.

    It waits for claimed images, and for requests that are still being generated.
    """
    mine = Erasure.objects.filter(pk=erasure.pk, lease=erasure.lease)
    extent = Extent(
        reason=f"Erasure of an end user: {erasure.reason}", has_texts=True, has_hashes=True
    )
    try:
        while _purge_and_count(find_of_end_user(erasure.end_user), extent, mine, "images"):
            purging.finish(BATCH)
            if not go_on():
                mine.update(due_at=timezone.now(), lease=None)
                return False
        while purging.finish(BATCH):  # an earlier run may have left more than a batch
            pass
        if not _erase_requests(erasure, mine):
            return False
    except StorageUnavailableError as error:
        mine.update(
            due_at=timezone.now() + storage_checks.RETRY_AFTER, lease=None, error=str(error)
        )
        return False
    return _finish_erasure(erasure, mine)


def _erase_requests(erasure: Erasure, mine: QuerySet[Erasure]) -> bool:
    """Remove the texts of the end user's requests, but for those on legal hold.

    Returns whether the erasure is still this worker's.
    """
    left = Asset.objects.with_files().filter(request=OuterRef("pk"))
    rows = find_requests_of_end_user(erasure.end_user).filter(
        ~Exists(left), status__in=GenerationRequest.FINISHED
    )
    rows = rows.exclude(holds__in=LegalHold.objects.in_effect())
    found = list(rows.order_by("pk"))
    if not mine.update(due_at=timezone.now() + LEASE):
        return False
    if found:
        purging.list_requests(found)
        with transaction.atomic():
            if not mine.update(due_at=timezone.now() + LEASE):
                return False
            count = purging.purge_request_texts([request.pk for request in found])
            mine.update(requests=F("requests") + count)
    return True


def _finish_erasure(erasure: Erasure, mine: QuerySet[Erasure]) -> bool:
    seen = preview_erasure(erasure.end_user)
    if seen.images or seen.open_requests:
        mine.update(
            due_at=timezone.now() + storage_checks.RETRY_AFTER,
            lease=None,
            held=seen.held,
            error="It waits for images that somebody holds, or for requests that are not finished.",
        )
        return False
    now = timezone.now()
    if seen.held:
        mine.update(
            due_at=now + EVERY,
            lease=None,
            held=seen.held,
            error=f"It waits for legal holds on {seen.held} of the images.",
        )
        return False
    with transaction.atomic():
        mine.update(error="")
        erasure.move_to(
            Erasure.Status.FINISHED,
            where={"lease": erasure.lease},
            finished_at=now,
            due_at=None,
            end_user="",
            held=0,
        )
        _add_event(
            "Erasure",
            f"Finished ({erasure.end_user_sha256[:12]}…): {erasure.images} images,"
            f" {erasure.requests} further requests",
            None,
        )
    return True
