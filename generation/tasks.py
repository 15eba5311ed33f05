"""The pumps of generation: bounded loops over due rows. A message only starts one; the rows say what is to do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from itertools import groupby

from generation import fetching, imaging, providers
from generation.models import GenerationRequest, InvalidTransition, RemoteImage
from generation.providers.base import ProviderError, TaskResult
from generation.pumps import Turn, pump
from generation.services import pipeline

log = logging.getLogger("loupe.tasks")
Status = GenerationRequest.Status
Answers = dict[str, TaskResult | ProviderError]

# How long a dead worker holds up a row. Longer than any one call takes; being wrong only means doing it twice.
LEASE = timedelta(seconds=40)
POLL_BATCH = 200
FETCH_BATCH = 4
FETCH_THREADS = 4
KILLED = "Fetching or decoding this image ended its worker {} times, so it is not tried again."


@pump("submit", due=lambda: GenerationRequest.objects.due().filter(status__in=[Status.QUEUED, Status.SUBMITTING]))
def submit(turn: Turn) -> None:
    """Send queued requests, and mark those whose sender died as unknown."""
    for orphan in GenerationRequest.objects.due().filter(status=Status.SUBMITTING):
        with _moved_on(orphan):
            pipeline.lose(request=orphan, reason="SENDER_DIED", what="The worker died while sending.")
    queued = GenerationRequest.objects.filter(status=Status.QUEUED)
    while not turn.expired:
        # One at a time: what is claimed and not sent would wait out its lease if this process were killed.
        claimed = queued.claim(limit=1, lease=timedelta(seconds=30))
        if not claimed:
            return
        turn.renew()
        with _moved_on(claimed[0]):
            pipeline.submit(request=claimed[0])


@contextmanager
def _moved_on(request: GenerationRequest) -> Iterator[None]:
    """Losing a row to another worker or to a person is no error: they have done the step."""
    try:
        yield
    except InvalidTransition:
        log.info("request %s was moved on by somebody else", request.short_id)


@pump("poll", due=lambda: GenerationRequest.objects.due().filter(status=Status.PROCESSING))
def poll(turn: Turn) -> None:
    """Ask for every due task at once, provider by provider."""
    processing = GenerationRequest.objects.filter(status=Status.PROCESSING)
    while not turn.expired:
        claimed = processing.claim(limit=POLL_BATCH, lease=LEASE)
        if not claimed:
            return
        turn.renew()
        claimed.sort(key=lambda request: request.provider)
        for slug, requests in groupby(claimed, key=lambda request: request.provider):
            _poll_provider(slug, list(requests))


def _poll_provider(slug: str, requests: list[GenerationRequest]) -> None:
    try:
        provider = providers.get(slug)
    except LookupError as error:
        answers: Answers = {request.provider_task_id: ProviderError(str(error)) for request in requests}
    else:

        async def collect() -> Answers:
            return {task: answer async for task, answer in provider.poll([row.provider_task_id for row in requests])}

        answers = asyncio.run(collect())
    for request in requests:
        missing = ProviderError("The provider was not asked in time.")
        pipeline.apply_answer(request=request, answer=answers.get(request.provider_task_id, missing))


@pump("fetch", due=lambda: RemoteImage.objects.due())
def fetch(turn: Turn) -> None:
    """Download what is ready, nearest deadline first, a few at a time."""
    with ThreadPoolExecutor(FETCH_THREADS) as threads:
        while not turn.expired:
            claimed = RemoteImage.objects.claim(limit=FETCH_BATCH, lease=LEASE, count_attempt=True)
            if not claimed:
                return
            turn.renew()
            taken = RemoteImage.objects.filter(pk__in=[image.pk for image in claimed])
            images = list(taken.select_related("request").order_by("expires_at"))
            for image, outcome in zip(images, threads.map(_download, images), strict=True):
                if isinstance(outcome, imaging.Rendition):
                    pipeline.keep(image=image, rendition=outcome)
                else:
                    pipeline.miss(image=image, error=outcome)


def _download(image: RemoteImage) -> imaging.Rendition | Exception:
    if image.attempts > pipeline.FETCH_ATTEMPTS:
        return imaging.Unreadable(KILLED.format(image.attempts - 1), code="crashed")
    try:
        return pipeline.download(image=image)
    except (fetching.Blocked, fetching.FetchFailed, imaging.Unreadable, imaging.DecoderUnavailable) as error:
        return error
