"""Jobs of generation: bounded loops over due rows.

A queue message only starts a job; the rows determine the work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from itertools import groupby
from operator import itemgetter

from django.conf import settings

from generation import fetching, imaging, providers
from generation.core.log_context import bound_contextvars
from generation.core.storage import StorageUnavailableError
from generation.jobs import JobRun, Pool, job, wake_another
from generation.models import (
    GenerationRequest,
    InvalidTransitionError,
    RemoteImage,
    ServiceCall,
)
from generation.providers.base import ProviderError, TaskNotFoundError, TaskResult
from generation.services import (
    downloading,
    health,
    importing,
    polling,
    service_calls,
    storage_checks,
    submitting,
    webhooks,
)

log = logging.getLogger("loupe.tasks")
Status = GenerationRequest.Status
Answers = dict[tuple[str, str], TaskResult | ProviderError]  # by provider and task

# Maximum delay of a row after its worker died. Longer than any call; if it is too short, a call is
# only repeated.
LEASE = timedelta(seconds=40)
POLL_BATCH = 200
FETCH_BATCH = 4
FETCH_THREADS = 4
# A run decodes at most two images at the same time, in child processes.
FETCH_SLOTS = max(1, settings.WORKERS // 2)
KILLED = "Fetching or decoding this image crashed its worker {} times, so it is not tried again."


@job(
    "submit",
    pool=Pool.NETWORK,
    due=lambda: GenerationRequest.objects.due().filter(
        status__in=[Status.QUEUED, Status.SUBMITTING]
    ),
)
def submit(run: JobRun) -> None:
    """Send queued requests; mark requests whose sender died as unknown."""
    for orphan in GenerationRequest.objects.due().filter(status=Status.SUBMITTING):
        with _ignore_lost_transition(orphan):
            submitting.mark_unknown(
                request=orphan, reason="SENDER_DIED", what="The worker died while sending."
            )
    queued = GenerationRequest.objects.filter(status=Status.QUEUED)
    while not run.expired:
        # One at a time: claimed requests that are not sent would be delayed by their lease if this
        # process were killed.
        claimed = queued.claim(limit=1, lease=timedelta(seconds=30))
        if not claimed:
            return
        run.renew()
        with _log_request(claimed[0]), _ignore_lost_transition(claimed[0]):
            submitting.submit_request(request=claimed[0])


def _log_request(request: GenerationRequest) -> AbstractContextManager[None]:
    """Bind the request's id to the log."""
    return bound_contextvars(request_uuid=str(request.uuid))


@contextmanager
def _ignore_lost_transition(request: GenerationRequest) -> Iterator[None]:
    """Ignore a transition that another worker or a person has already made."""
    try:
        yield
    except InvalidTransitionError:
        log.info("request %s was moved on by somebody else", request.short_id)


@job(
    "poll",
    pool=Pool.NETWORK,
    due=lambda: GenerationRequest.objects.due().filter(status=Status.PROCESSING),
)
def poll(run: JobRun) -> None:
    """Poll all due tasks, provider by provider."""
    processing = GenerationRequest.objects.filter(status=Status.PROCESSING)
    while not run.expired:
        claimed = processing.claim(limit=POLL_BATCH, lease=LEASE)
        if not claimed:
            return
        run.renew()
        answers = _poll_tasks((request.provider, request.provider_task_id) for request in claimed)
        polling.apply_answers(
            (request, answers[request.provider, request.provider_task_id]) for request in claimed
        )


@job(
    "reconcile",
    pool=Pool.NETWORK,
    due=lambda: GenerationRequest.objects.due().filter(status=Status.UNKNOWN),
)
def reconcile(run: JobRun) -> None:
    """Poll the candidate tasks that webhooks named for requests of unknown outcome."""
    unknown = GenerationRequest.objects.filter(status=Status.UNKNOWN)
    while not run.expired:
        claimed = unknown.claim(limit=POLL_BATCH, lease=LEASE)
        if not claimed:
            return
        run.renew()
        answers = _poll_tasks((request.provider, request.candidate_task_id) for request in claimed)
        for request in claimed:
            webhooks.confirm_candidate(
                request=request, answer=answers[request.provider, request.candidate_task_id]
            )


def _poll_tasks(tasks: Iterable[tuple[str, str]]) -> Answers:
    """Poll the tasks of all providers and record the providers' health."""
    wanted = sorted(set(tasks))
    answers: Answers = {}
    for slug, pairs in groupby(wanted, key=itemgetter(0)):
        answers |= {
            (slug, task): answer
            for task, answer in _poll_provider(slug, [task for _, task in pairs]).items()
        }
    missing = ProviderError("The provider was not asked in time.")
    return {pair: answers.get(pair, missing) for pair in wanted}


def _poll_provider(slug: str, task_ids: list[str]) -> dict[str, TaskResult | ProviderError]:
    try:
        provider = providers.get_provider(slug)
    except LookupError as error:
        return {task: ProviderError(str(error)) for task in task_ids}

    async def collect() -> dict[str, TaskResult | ProviderError]:
        return {task: answer async for task, answer in provider.poll(task_ids)}

    with service_calls.measure() as stopwatch:
        answers = asyncio.run(collect())
    errors = [answer for answer in answers.values() if isinstance(answer, ProviderError)]
    serious = [error for error in errors if not isinstance(error, TaskNotFoundError)]
    if serious:
        health.record_failure(slug, str(serious[-1]))
    if len(serious) < len(answers):
        health.record_success(slug)
    service_calls.record_calls(
        slug,
        ServiceCall.Kind.POLL,
        ServiceCall.Outcome.DONE,
        count=len(answers) - len(serious),
        milliseconds=stopwatch.milliseconds,  # of all, which are asked at once
    )
    service_calls.record_calls(
        slug, ServiceCall.Kind.POLL, ServiceCall.Outcome.FAILED, count=len(serious)
    )
    return answers


@job("fetch", pool=Pool.NETWORK, slots=FETCH_SLOTS, due=lambda: RemoteImage.objects.due())
def fetch(run: JobRun) -> None:
    """Download due images in small batches, those that expire first."""
    with ThreadPoolExecutor(FETCH_THREADS) as threads:
        while not run.expired:
            if storage_checks.find_local_failure():
                _wait_for_storage(run)
                return
            claimed = _claim_images()
            if not claimed:
                return
            run.renew()
            if len(claimed) == FETCH_BATCH:
                wake_another(run)
            taken = RemoteImage.objects.filter(pk__in=[image.pk for image in claimed])
            images = list(taken.select_related("request").order_by("expires_at"))
            expired = []
            downloads = threads.map(_measure_download, images)
            for image, (outcome, milliseconds) in zip(images, downloads, strict=True):
                _record_download(image, outcome, milliseconds)
                with _log_request(image.request):
                    if isinstance(outcome, imaging.Rendition):
                        _store_download(image, outcome)
                    elif downloading.needs_new_url(image, outcome):
                        expired.append(image)
                    else:
                        downloading.handle_failure(image=image, error=outcome)
            _renew_urls(run, expired)


def _claim_images() -> list[RemoteImage]:
    """Claim the next images to download.

    An image whose last download ended without a result may have crashed its worker. It is claimed
    alone, so that no other image dies with it.
    """
    suspects = RemoteImage.objects.filter(attempts__gt=0, error="")
    return suspects.claim(limit=1, lease=LEASE, count_attempt=True) or RemoteImage.objects.claim(
        limit=FETCH_BATCH, lease=LEASE, count_attempt=True, first="expires_at"
    )


def _measure_download(image: RemoteImage) -> tuple[imaging.Rendition | Exception, int]:
    with service_calls.measure() as stopwatch:
        outcome = _download_image(image)
    return outcome, stopwatch.milliseconds


def _record_download(
    image: RemoteImage, outcome: imaging.Rendition | Exception, milliseconds: int
) -> None:
    is_done = isinstance(outcome, imaging.Rendition)
    service_calls.record_calls(
        image.request.provider,
        ServiceCall.Kind.DOWNLOAD,
        ServiceCall.Outcome.DONE if is_done else ServiceCall.Outcome.FAILED,
        milliseconds=milliseconds,
    )


def _store_download(image: RemoteImage, rendition: imaging.Rendition) -> None:
    """Store a downloaded image; postpone it if the storage fails."""
    try:
        downloading.store_download(image=image, rendition=rendition)
    except StorageUnavailableError as error:
        storage_checks.record_failure(error)
        downloading.postpone(image=image, reason=str(error), wait=storage_checks.RETRY_AFTER)


def _wait_for_storage(run: JobRun) -> None:
    """Pause this job while this host cannot store images.

    Nothing is claimed, because a claim counts as an attempt. URLs may expire in the meantime, so
    each image may request a new one again.
    """
    RemoteImage.objects.due().filter(refreshes__gt=0).update(refreshes=0)
    run.pause(storage_checks.RETRY_AFTER)


def _renew_urls(run: JobRun, images: list[RemoteImage]) -> None:
    """Poll the tasks of expired URLs again, because every poll returns newly signed URLs."""
    if not images:
        return
    run.renew()
    answers = _poll_tasks(
        (image.request.provider, image.request.provider_task_id) for image in images
    )
    for image in images:
        answer = answers[image.request.provider, image.request.provider_task_id]
        downloading.apply_second_reading(image=image, answer=answer)


def _download_image(image: RemoteImage) -> imaging.Rendition | Exception:
    """Download one image; return its error instead of raising it."""
    if downloading.has_crashed_too_often(image):
        return imaging.UnreadableImageError(KILLED.format(image.attempts - 1), code="crashed")
    try:
        return downloading.download_image(image=image)
    except (
        fetching.BlockedAddressError,
        fetching.FetchError,
        imaging.UnreadableImageError,
        imaging.DecoderUnavailableError,
    ) as error:
        return error


@job("import_scenario", pool=Pool.NETWORK, due=importing.is_due, time_limit=10)
def import_scenario(run: JobRun) -> None:
    """Continue the scheduled import, or start the next one."""

    def go_on() -> bool:
        run.renew()
        return not run.expired

    importing.run_scheduled_import(go_on=go_on)
