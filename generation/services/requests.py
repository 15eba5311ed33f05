"""People's actions on generation requests: create, cancel, give up, retry."""

from __future__ import annotations

import secrets
import uuid
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from generation import jobs, providers
from generation.core.storage import StorageUnavailableError
from generation.models import GenerationRequest, RequestTransition
from generation.services import spending, storage_checks
from generation.services.validation import is_blank

if TYPE_CHECKING:
    from django.contrib.auth.models import User

Status = GenerationRequest.Status
SEED_MAX = 2**32 - 1


class BlankPromptError(ValueError):
    """A prompt without a visible character."""

    def __init__(self) -> None:
        super().__init__("The prompt is blank. Describe the image.")


class UnknownProviderError(Exception):
    """A provider that is not configured."""


def create_request(
    *, user: User | None, provider: str, fields: dict[str, Any], form_token: uuid.UUID | None = None
) -> tuple[GenerationRequest, bool]:
    """Record a request and wake the submit job. Return it, and whether it is new.

    Idempotent: the same ``form_token`` returns the first request. ``fields`` must be validated
    against ``generation.wire.txt2img``. A missing seed, or -1, is replaced by a random one, so
    that repeating the request produces identical images. Raises UnknownProviderError,
    SpendingLimitError, BlankPromptError or StorageUnavailableError; nothing is recorded then.
    """
    if is_blank(fields["prompt"]):
        raise BlankPromptError
    if provider not in providers.list_labels():
        raise UnknownProviderError(f"There is no provider called {provider}.")
    seed = fields.get("seed")
    values = {**fields, "seed": secrets.randbelow(SEED_MAX) if seed is None or seed < 0 else seed}
    token = form_token or uuid.uuid4()
    if form_token and (existing := _find_by_token(form_token)):
        return existing, False
    _check_storage()
    _check_spending(provider, values)
    try:
        with transaction.atomic():
            request = GenerationRequest.objects.create(
                requested_by=user,
                provider=provider,
                form_token=token,
                due_at=timezone.now(),
                **values,
            )
            RequestTransition.objects.create(request=request, old="", new=request.status)
            jobs.wake("submit")
    except IntegrityError:
        # Another call may have used the token since the lookup.
        if existing := _find_by_token(token):
            return existing, False
        raise
    return request, True


def _find_by_token(token: uuid.UUID) -> GenerationRequest | None:
    return GenerationRequest.objects.filter(form_token=token).first()


def _check_storage() -> None:
    if outage := storage_checks.explain_outage():
        raise StorageUnavailableError(outage)


def _check_spending(provider: str, values: dict[str, Any]) -> None:
    detection = bool(values.get("enable_nsfw_detection"))
    cost = spending.compute_price(provider, images=values["image_num"], detection=detection)
    if refused := spending.explain_refusal(cost):
        raise spending.SpendingLimitError(refused)


def cancel_request(*, request: GenerationRequest) -> GenerationRequest:
    """Cancel a request that is not sent yet.

    Raises InvalidTransitionError once it is sent.
    """
    return request.move_to(Status.CANCELLED)


def give_up_request(*, request: GenerationRequest, user: User) -> GenerationRequest:
    """Mark a request of unknown outcome as failed; its cost stays counted.

    Raises InvalidTransitionError.
    """
    message = f"Given up by {user.get_username()}: the provider may have generated and billed it."
    return request.move_to(
        Status.FAILED, only_from=Status.UNKNOWN, error=message, reason="GIVEN_UP", due_at=None
    )


def retry_request(*, request: GenerationRequest) -> GenerationRequest:
    """Queue a failed or unknown request again, with the same seed.

    Only people call this, because the request may be billed twice. Raises
    InvalidTransitionError, or BlankPromptError for requests older than that check.
    """
    if is_blank(request.prompt):
        raise BlankPromptError
    with transaction.atomic():
        request.move_to(
            Status.QUEUED,
            due_at=timezone.now(),
            attempts=0,
            provider_task_id="",
            reason="",
            error="",
            progress=0,
            result=None,
            webhook_digest="",
            candidate_task_id="",
        )
        request.remote_images.all().delete()
        jobs.wake("submit")
    return request
