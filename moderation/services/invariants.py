"""Invariants of the stored data: what holds at every moment, whatever was killed or repeated.

Each check returns a message for each violation. docs/reliability.md describes them by number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import groupby, pairwise
from typing import Any, Final

from django.core.files.storage import storages
from django.db import connection, transaction
from django.db.models import Count, F, Q, Subquery
from django.utils import timezone

from generation.core.storage import DurableFileSystemStorage
from generation.models import Asset, GenerationRequest, JobSlot, RemoteImage, RequestTransition
from generation.services.downloading import ATTEMPTS as FETCH_ATTEMPTS
from generation.services.file_checks import verify_files
from moderation import append_only
from moderation.models import ChainHead, Classification, Decision, Delivery, Review
from moderation.models.reviews import CLAIM_LASTS
from moderation.services import chain_checks, state_checks

Check = Callable[[], Iterator[str]]
Status = GenerationRequest.Status

OVERDUE: Final = timedelta(minutes=30)  # longer than every retry delay of a row that is due
TEMPORARY_KEPT: Final = 3600.0  # seconds
# The largest number of claims before the row ends; each claim counts before its risky step.
CLAIMS_MAX: Final[dict[type[Any], int]] = {
    RemoteImage: FETCH_ATTEMPTS + 1,
    Classification: 10,
    Delivery: 7,
}
SAMPLE: Final = 20  # messages of one check

CHECKS: dict[str, Check] = {}


def _check(number: str) -> Callable[[Check], Check]:
    def register(function: Check) -> Check:
        CHECKS[number] = function
        return function

    return register


def find_violations(*, files: bool = True) -> list[str]:
    """Run all checks; return a message for each violation, with the number of its invariant.

    ``files=False`` leaves out the checks that read every stored file.
    """
    found: list[str] = []
    for number, check in CHECKS.items():
        if not files and number in ("I10", "I11"):
            continue
        messages = list(check())
        found += [f"{number}: {message}" for message in messages[:SAMPLE]]
        if len(messages) > SAMPLE:
            found.append(f"{number}: … and {len(messages) - SAMPLE} more.")
    return found


@_check("I1")
def check_one_request_per_press() -> Iterator[str]:
    """Find forms and idempotency keys with more than one request."""
    rows = GenerationRequest.objects.values("form_token").annotate(n=Count("pk")).filter(n__gt=1)
    for row in rows:
        yield f"The form {row['form_token']} has {row['n']} requests."
    keyed = GenerationRequest.objects.exclude(idempotency_key="")
    repeated = keyed.values("api_key", "idempotency_key").annotate(n=Count("pk")).filter(n__gt=1)
    for key in repeated:
        yield f"An idempotency key of API key {key['api_key']} has {key['n']} requests."


@_check("I2")
def check_open_rows_are_scheduled() -> Iterator[str]:
    """Find rows that wait for work and have no due date, so that no job would find them."""
    waiting = (Status.QUEUED, Status.SUBMITTING, Status.PROCESSING)
    for row in GenerationRequest.objects.filter(status__in=waiting, due_at__isnull=True):
        yield f"Request {row.short_id} is {row.status} and has no due date."
    for row in GenerationRequest.objects.filter(status=Status.UNKNOWN, due_at__isnull=True):
        if row.candidate_task_id:
            yield f"Request {row.short_id} is unknown with a candidate and has no due date."
    for image in RemoteImage.objects.filter(status="waiting", due_at__isnull=True).defer("url"):
        yield f"{image} waits and has no due date."
    for delivery in Delivery.objects.filter(status="waiting", due_at__isnull=True):
        yield f"Event {delivery.uuid} waits and has no due date."
    active = RemoteImage.objects.filter(status="waiting").values("request")
    for row in GenerationRequest.objects.filter(status=Status.FETCHING).exclude(pk__in=active):
        yield f"Request {row.short_id} is fetching and has no image that waits."
    queued = Classification.objects.filter(status="queued")
    running = queued.filter(due_at__isnull=False).values("asset")
    # A held run waits for another one of the same image.
    for run in queued.filter(due_at__isnull=True).exclude(asset__in=running):
        yield f"Classification {run.pk} is held and no other run of its image is due."


@_check("I3")
def check_transitions_are_permitted() -> Iterator[str]:
    """Find histories with a gap or a transition that the state machine does not permit."""
    rows = RequestTransition.objects.order_by("request", "pk").values_list(
        "request", "old", "new", "request__status"
    )
    for pk, steps in groupby(rows.iterator(), key=lambda row: row[0]):
        history = list(steps)
        moves = [(old, new) for _, old, new, _ in history if old]  # without the creation
        chain = [Status.QUEUED.value, *(new for _, new in moves)]
        if [old for old, _ in moves] != chain[:-1]:
            yield f"Request {pk}: the history has a gap: {' → '.join(chain)}."
        if chain[-1] != history[-1][3]:
            yield f"Request {pk} is {history[-1][3]}, but its history ends with {chain[-1]}."
        for old, new in pairwise(chain):
            if new not in GenerationRequest.TRANSITIONS[old]:
                yield f"Request {pk} went from {old} to {new}."


@_check("I4")
def check_nothing_was_sent_twice() -> Iterator[str]:
    """Find requests that were sent again after they might have been accepted.

    Only a person queues a request of unknown or failed outcome; that step has its own transition.
    """
    rows = RequestTransition.objects.order_by("request", "pk").values_list("request", "old", "new")
    for pk, steps in groupby(rows.iterator(), key=lambda row: row[0]):
        may_send = True
        for _, old, new in steps:
            if (old, new) == (Status.QUEUED, Status.SUBMITTING):
                if not may_send:
                    yield f"Request {pk} was sent again without a reason."
                may_send = False
            elif new == Status.QUEUED:
                may_send = True


@_check("I5")
def check_unknown_outcomes_are_visible() -> Iterator[str]:
    """Find unknown outcomes without a message or a cost, and running requests without a task."""
    for row in GenerationRequest.objects.filter(status=Status.UNKNOWN).filter(
        Q(error="") | Q(cost__isnull=True) | Q(submitted_at__isnull=True)
    ):
        yield f"Request {row.short_id} is unknown, without a message, a cost or a time."
    for row in GenerationRequest.objects.filter(
        status__in=(Status.PROCESSING, Status.FETCHING, Status.SUCCEEDED), provider_task_id=""
    ):
        yield f"Request {row.short_id} is {row.status} without a task."


@_check("I6")
def check_retries_have_a_reason() -> Iterator[str]:
    """Find submissions that were repeated without a proof that they were not accepted."""
    for row in RequestTransition.objects.filter(
        old=Status.SUBMITTING, new=Status.QUEUED, reason=""
    ):
        yield f"Request {row.request_id} was queued again without a reason."


@_check("I7")
def check_nothing_waits_silently() -> Iterator[str]:
    """Find rows that have been due for a long time: a job does not run, or fails each time."""
    limit = timezone.now() - OVERDUE
    for model in (GenerationRequest, RemoteImage, Classification, Delivery):
        late = model.objects.filter(due_at__lt=limit).count()
        if late:
            plural = model._meta.verbose_name_plural
            yield f"{late} {plural} have been due for more than {OVERDUE.seconds // 60} minutes."


@_check("I8")
def check_images_match_their_requests() -> Iterator[str]:
    """Find succeeded requests with too few images, and stored images without an asset."""
    whole = GenerationRequest.objects.filter(status=Status.SUCCEEDED).annotate(n=Count("assets"))
    counted = whole.values_list("uuid", "n", "image_num")
    for uuid, number, wanted in counted.filter(error="").exclude(n=F("image_num")):
        yield f"Request {uuid} has {number} of {wanted} images."
    for uuid, number, wanted in counted.filter(n__gt=F("image_num")):
        yield f"Request {uuid} has {number} images instead of {wanted}."
    places = set(
        Asset.objects.filter(request__isnull=False).values_list("request", "position").iterator()
    )
    remote = RemoteImage.objects.values_list("request", "position", "status")
    for request, position, status in remote.iterator():
        if (status == "stored") != ((request, position) in places):
            yield f"Image {position} of request {request} is {status}, which its asset contradicts."


@_check("I9")
def check_lost_images_have_a_message() -> Iterator[str]:
    """Find images that failed without a message."""
    for image in RemoteImage.objects.filter(status="failed", error="").defer("url"):
        yield f"{image} failed without a message."


@_check("I10")
def check_files_are_whole() -> Iterator[str]:
    """Find assets whose files are missing or altered."""
    found = verify_files()
    yield from (f"{name} is missing." for name in found.missing)
    yield from (f"{name} was altered." for name in found.altered)


@_check("I11")
def check_interrupted_writes_are_swept() -> Iterator[str]:
    """Find temporary files that are older than an hour."""
    files = storages["assets"]
    if isinstance(files, DurableFileSystemStorage):
        for path in files.list_temporary(TEMPORARY_KEPT):
            yield f"{path.name} is a temporary file older than an hour."


@_check("I12")
def check_attempts_are_bounded() -> Iterator[str]:
    """Find rows that were claimed more often than their job permits."""
    for model, limit in CLAIMS_MAX.items():
        for row in model._default_manager.filter(attempts__gt=limit):
            yield f"{row._meta.verbose_name} {row.pk} was claimed {row.attempts} times."


@_check("I13")
def check_results_are_single() -> Iterator[str]:
    """Find results without an end, and images with two results of one version."""
    doubled = Classification.objects.values("asset", "classifier", "version").annotate(
        n=Count("pk")
    )
    for row in doubled.filter(n__gt=1):
        yield f"Asset {row['asset']} has {row['n']} results of {row['classifier']}."
    for run in Classification.objects.filter(status="done", finished_at__isnull=True):
        yield f"Classification {run.pk} is done without a time."
    for run in Classification.objects.filter(status="failed", error=""):
        yield f"Classification {run.pk} failed without a message."


@_check("I14")
def check_approvals_have_a_basis() -> Iterator[str]:
    """Find approvals of the policy for images that no classifier has seen."""
    seen = Classification.objects.filter(status__in=("done", "queued")).values("asset")
    approved = Decision.objects.filter(by_policy=True, verdict="approve")
    for pk in approved.exclude(review__asset__in=Subquery(seen)).values_list("pk", flat=True):
        yield f"Decision {pk} of the policy approves an image without a result."


@_check("I15")
def check_claims_have_one_holder() -> Iterator[str]:
    """Find claims that last longer than a claim can, which a clock that was set back leaves."""
    latest = timezone.now() + CLAIM_LASTS + timedelta(minutes=1)
    for review in Review.objects.filter(claimed_until__gt=latest):
        yield f"Review {review.pk} is claimed until {review.claimed_until}."
    for review in Review.objects.filter(Q(claimed_by__isnull=True) ^ Q(claimed_until__isnull=True)):
        yield f"Review {review.pk} has half a claim."


@_check("I16")
def check_reviews_follow_their_decisions() -> Iterator[str]:
    """Find reviews that differ from their replayed decisions."""
    yield from state_checks.iter_faults()


@_check("I17")
def check_record_has_no_gap() -> Iterator[str]:
    """Find a record whose decisions are not exactly 1 to head, each once."""
    with transaction.atomic():
        head = ChainHead.objects.select_for_update().get(pk=1)
        count = Decision.objects.count()
        newest = Decision.objects.newest_first().values_list("sequence", "hash").first() or (0, "")
    if not (head.sequence == count == newest[0]):
        yield f"The head names decision {head.sequence}; there are {count}, up to {newest[0]}."
    if head.hash != newest[1]:
        yield "The head has another hash than the last decision."


@_check("I18")
def check_chain_is_whole() -> Iterator[str]:
    """Find decisions that were altered or do not follow from the one before."""
    yield from chain_checks.iter_faults()


@_check("I19")
def check_clocks_agree() -> Iterator[str]:
    """Find events that lie in the future, which a clock that was set back leaves."""
    limit = timezone.now() + timedelta(minutes=1)
    for model, field in (
        (GenerationRequest, "created_at"),
        (RequestTransition, "created_at"),
        (Decision, "created_at"),
        (Review, "decided_at"),
    ):
        count = model._default_manager.filter(**{f"{field}__gt": limit}).count()
        if count:
            yield f"{count} {model._meta.verbose_name_plural} are from the future."


@_check("I20")
def check_database_is_whole() -> Iterator[str]:
    """Find missing reviews, missing or altered triggers, and damage that SQLite reports."""
    missing = Asset.objects.filter(review__isnull=True).count()
    if missing:
        yield f"{missing} assets have no review."
    doubled = JobSlot.objects.values("name", "host", "number").annotate(n=Count("pk"))
    for row in doubled.filter(n__gt=1):
        yield f"The job slot {row['name']} exists {row['n']} times."
    yield from append_only.find_faults()
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            for pragma in ("quick_check", "foreign_key_check"):
                cursor.execute(f"PRAGMA {pragma}")
                bad = [row for row in cursor.fetchall() if row != ("ok",)]
                yield from (f"SQLite reports: {row}" for row in bad)
