"""Submissions through the API: validation, the limits of the key, and idempotency."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings

from generation import fetching, providers
from generation.core.storage import StorageUnavailableError
from generation.fetching.policy import check_url
from generation.models import GenerationRequest
from generation.services import requests
from generation.services.model_catalog import NEGATIVE_CACHE_SECONDS, CatalogUnavailableError
from generation.services.spending import SpendingLimitError
from generation.services.validation import InvalidFieldsError, check_body, check_model
from generation.wire import field_map
from generation.wire.txt2img import Txt2ImgBody, Webhook
from moderation.api.auth import ApiError, ApiErrorCode, Call, read_end_user, read_json
from moderation.api.novita import test_mode
from moderation.api.novita.errors import NovitaError

IDEMPOTENCY_KEY_MAX = 255
STORAGE_SECONDS = 60  # until a retry while images cannot be stored


def submit(call: Call) -> uuid.UUID:
    """Record the request of a call, or find the one of the same idempotency key.

    Raises ApiError.
    """
    given = read_json(call.request)
    name = _idempotency_key(call)
    digest = _digest(given)
    if name and (
        earlier := GenerationRequest.objects.filter(api_key=call.key, idempotency_key=name).first()
    ):
        return _same(earlier, digest)
    provider = next(iter(providers.list_labels()), "")
    if not provider:
        raise ApiError(ApiErrorCode.UNAVAILABLE, "No image provider is configured on this server.")
    body, fields = _read(given, provider)
    webhook = body.extra.webhook
    if webhook:
        _judge(webhook)
        if webhook.test_mode and webhook.test_mode.enabled:
            return test_mode.announce(
                key=call.key,
                body=body,
                webhook=webhook,
                status=webhook.test_mode.return_task_status,
            )
    end_user = read_end_user(call.request)
    call.consume(body.request.image_num)
    fields |= {
        "api_key": call.key,
        "end_user": end_user,
        "callback_url": webhook.url if webhook else "",
    }
    if name:
        fields |= {"idempotency_key": name, "idempotency_digest": digest}
    request, is_new = _create(call, provider, fields, name)
    if not is_new:  # the same idempotency key, sent twice at once
        call.refund()
        return _same(request, digest)
    return request.uuid


def _idempotency_key(call: Call) -> str:
    """Return the header Idempotency-Key; "" without one."""
    name = call.request.headers.get("Idempotency-Key")
    if name is None:
        return ""
    if not 0 < len(name) <= IDEMPOTENCY_KEY_MAX or not (name.isascii() and name.isprintable()):
        sentence = (
            f"Idempotency-Key must have 1 to {IDEMPOTENCY_KEY_MAX} printable ASCII characters."
        )
        raise ApiError(ApiErrorCode.BODY_INVALID, sentence)
    return name


def _digest(given: Any) -> str:
    """Return the SHA-256 of the parsed body, so that spaces and the order of keys do not count."""
    return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()


def _same(request: GenerationRequest, digest: str) -> uuid.UUID:
    if request.idempotency_digest != digest:
        raise ApiError(
            ApiErrorCode.CONFLICT, "This Idempotency-Key was sent before with another body."
        )
    return request.uuid


def _read(given: Any, provider: str) -> tuple[Txt2ImgBody, dict[str, Any]]:
    """Validate a body by the rules of the form, and return it with its columns.

    Raises ApiError.
    """
    try:
        body = check_body(given)
    except InvalidFieldsError as error:
        raise _invalid(error, also=_find_refused_fields(given)) from None
    fields = field_map.flatten(body)
    _refuse_fields(given)
    try:
        check_model(body, provider)
    except InvalidFieldsError as error:
        raise _invalid(error) from None
    except CatalogUnavailableError as error:
        sentence = (
            "A transparent background needs an SDXL model, and the provider's list of "
            f"SDXL models cannot be read now. {error} Nothing was submitted."
        )
        raise ApiError(
            ApiErrorCode.UNAVAILABLE, sentence, retry_after=NEGATIVE_CACHE_SECONDS
        ) from None
    return body, fields


def _refuse_fields(given: Any) -> None:
    """Raise NovitaError if there are fields that API callers may not send."""
    refused = _find_refused_fields(given)
    for field in field_map.FIELDS.values():
        path = ".".join(field.path)
        if field.api_refusal and path in refused:
            message = ". ".join(f"{name} {why}" for name, why in refused.items())
            raise NovitaError(
                ApiErrorCode.BODY_INVALID,
                f"{message}.",
                reason=field.api_refusal.reason,
                metadata={"fields": refused},
            )


def _find_refused_fields(given: Any) -> dict[str, str]:
    """Return the fields of a body that API callers may not send, each with the reason."""
    return {
        ".".join(field.path): f"cannot be used here: {field.api_refusal.why}"
        for field in field_map.FIELDS.values()
        if field.api_refusal and _get_path(given, field.path)
    }


def _get_path(body: Any, path: Sequence[str]) -> Any:
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    return body


def _invalid(error: InvalidFieldsError, *, also: Mapping[str, str] | None = None) -> NovitaError:
    fields = {".".join(map(str, problem.path)): problem.demand for problem in error.problems}
    return NovitaError(
        ApiErrorCode.BODY_INVALID,
        str(error),
        reason="INVALID_REQUEST_BODY",
        metadata={"fields": {**(also or {}), **fields}},
    )


def _judge(webhook: Webhook) -> None:
    """Refuse a forbidden URL by its text. Its IP addresses are checked at every call."""
    try:
        check_url(webhook.url, allow=settings.CALLER_ALLOW)
    except fetching.BlockedAddressError as error:
        raise NovitaError(
            ApiErrorCode.BODY_INVALID,
            f"extra.webhook.url is not allowed: {error}",
            reason="INVALID_REQUEST_BODY",
            metadata={"fields": {"extra.webhook.url": f"is not allowed: {error}"}},
        ) from None


def _create(
    call: Call, provider: str, fields: Mapping[str, Any], name: str
) -> tuple[GenerationRequest, bool]:
    """Return the request and whether it is new."""
    # One form token per idempotency key: of two simultaneous calls, the second one finds the
    # request of the first.
    token = uuid.uuid5(call.key.uuid, name) if name else None
    try:
        return requests.create_request(
            user=call.key.owner, provider=provider, fields=dict(fields), form_token=token
        )
    except SpendingLimitError as error:
        raise NovitaError(
            ApiErrorCode.BODY_INVALID, str(error), reason="BILLING_BALANCE_NOT_ENOUGH"
        ) from None
    except StorageUnavailableError as error:
        sentence = f"{error} Nothing was submitted or charged. Send the same request again later."
        raise ApiError(ApiErrorCode.UNAVAILABLE, sentence, retry_after=STORAGE_SECONDS) from None
    except requests.UnknownProviderError as error:
        raise ApiError(ApiErrorCode.UNAVAILABLE, str(error)) from None
