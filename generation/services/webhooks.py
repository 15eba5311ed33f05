"""Provider webhooks: a call about an ended task only triggers a poll with our own key.

Each submission has its own secret in its webhook URL. The secret is random, not derived from
SECRET_KEY: it is not needed again after the POST that carries it, so it need not be reproducible. A
late call about an earlier submission finds no request. Only the SHA-256 of the secret is stored.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet
from django.urls import reverse
from django.utils import timezone

from generation import jobs, providers
from generation.models import GenerationRequest, InvalidTransitionError
from generation.providers.base import (
    ProviderError,
    TaskNotFoundError,
    TaskResult,
)
from generation.services.waiting import retry_delay
from generation.wire.base import is_object

log = logging.getLogger("loupe.webhooks")
Status = GenerationRequest.Status

EVENT_TYPE = "ASYNC_TASK_RESULT"
BODY_MAX = 64 * 1024
TASK_ID_MAX = 200


def create_webhook_url(provider: str) -> tuple[str, str]:
    """Return a new webhook URL and the digest of its secret.

    Both are empty if the provider cannot reach this server.
    """
    if not providers.get_terms(provider).webhooks:
        return "", ""
    secret = secrets.token_urlsafe(32)
    return (
        f"{settings.PUBLIC_URL}{reverse('generation:novita-webhook', args=[secret])}",
        hash_secret(secret),
    )


def hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def is_known(secret: str) -> bool:
    return GenerationRequest.objects.filter(webhook_digest=hash_secret(secret)).exists()


def receive_call(*, secret: str, body: bytes) -> None:
    """Read the task ID from a webhook call and make its poll due. Ignore the rest of the body."""
    request = (
        GenerationRequest.objects.filter(webhook_digest=hash_secret(secret))
        .only("pk", "provider")
        .first()
    )
    task_id = _parse_task_id(body) if request else ""
    if request is None or not task_id:
        return
    rows, now = GenerationRequest.objects.filter(pk=request.pk), timezone.now()
    if rows.filter(status=Status.PROCESSING, provider_task_id=task_id, due_at__gt=now).update(
        due_at=now
    ):
        jobs.wake("poll")
        return
    if GenerationRequest.objects.filter(
        provider=request.provider, provider_task_id=task_id
    ).exists():
        return
    without = rows.filter(provider_task_id="", candidate_task_id="")
    # Only a change from submitting to unknown can happen in between, never the reverse. While a
    # request is being sent, due_at is the sender's lease and must not change; when that lease
    # expires, candidates are checked.
    for status, changes in (
        (Status.UNKNOWN, {"due_at": now}),
        (Status.SUBMITTING, {}),
        (Status.UNKNOWN, {"due_at": now}),
    ):
        if without.filter(status=status).update(candidate_task_id=task_id, **changes):
            jobs.wake("reconcile")
            return


def _parse_task_id(body: bytes) -> str:
    """Return the ID of the task in an event; "" for any other body."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not is_object(event) or event.get("event_type") != EVENT_TYPE:
        return ""
    payload = event.get("payload")
    task = payload.get("task") if is_object(payload) else None
    found = task.get("task_id") if is_object(task) else None
    usable = isinstance(found, str) and 0 < len(found) <= TASK_ID_MAX and found.isprintable()
    return str(found) if usable else ""


def confirm_candidate(*, request: GenerationRequest, answer: TaskResult | ProviderError) -> None:
    """Accept or drop a candidate task after polling it with our own key.

    The task is ours only if it has our seed.
    """
    if isinstance(answer, TaskNotFoundError) or (
        isinstance(answer, TaskResult) and answer.seed != request.seed
    ):
        log.warning("request %s: a webhook named a task that is not its own", request.short_id)
        _drop_candidate(request)
    elif isinstance(answer, ProviderError):
        due = timezone.now() + retry_delay(answer, request.attempts)
        _claimed(request).update(due_at=due, attempts=F("attempts") + 1)
    else:
        _adopt_candidate(request)


def _adopt_candidate(request: GenerationRequest) -> None:
    """Assign the candidate task to the request and move it to processing."""
    task_id = request.candidate_task_id
    try:
        with transaction.atomic():
            request.move_to(
                Status.PROCESSING,
                only_from=Status.UNKNOWN,
                where={"lease": request.lease, "candidate_task_id": task_id},
                provider_task_id=task_id,
                candidate_task_id="",
                due_at=timezone.now(),
                lease=None,
                attempts=0,
                error="",
                reason="FOUND_BY_WEBHOOK",
            )
            jobs.wake("poll")
    except InvalidTransitionError:
        log.info("request %s was settled by somebody else", request.short_id)
    except IntegrityError:  # another request has taken the task meanwhile
        _drop_candidate(request)


def _drop_candidate(request: GenerationRequest) -> None:
    _claimed(request).update(candidate_task_id="", due_at=None)


def _claimed(request: GenerationRequest) -> QuerySet[GenerationRequest]:
    return GenerationRequest.objects.filter(
        pk=request.pk, status=Status.UNKNOWN, lease=request.lease
    )
