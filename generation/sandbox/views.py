"""Simulation of Novita over real HTTP: its asynchronous txt2img endpoints.

Pages: https://novita.ai/docs/api-reference/model-apis-txt2img, .../model-apis-task-result,
.../model-apis-get-model and .../basic-error-code. docs/sandbox.md lists the prompt words that
select a behaviour.
"""

from __future__ import annotations

import random
import re
import uuid
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from hashlib import sha256
from typing import Any, Concatenate, ParamSpec
from xml.sax.saxutils import escape

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from pydantic import ValidationError

from generation.sandbox import catalogue, pictures, refusals, results, signing, webhooks
from generation.sandbox.cards import Steering, parse_steering
from generation.sandbox.models import SandboxRefusal, SandboxTask
from generation.wire.txt2img import SEED_RANDOM, Txt2ImgBody, explain

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]  # the request is a positional argument
_HTML_INSTEAD = (
    b"<!doctype html><title>502 Bad Gateway</title><h1>502 Bad Gateway</h1><p>Not an image.</p>\n"
)


def _upstream(method: str) -> Callable[[View[P]], View[P]]:
    """Wrap an endpoint without Loupe's log-in and CSRF rules.

    Returns 404 while the sandbox is off, and for other methods.
    """

    def decorate(view: View[P]) -> View[P]:
        @csrf_exempt
        @login_not_required
        @wraps(view)
        def wrapper(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            if not settings.SANDBOX:
                raise Http404("The sandbox is switched off.")
            if request.method != method:
                return _error(404, "API_NOT_FOUND", "route not found")
            return view(request, *args, **kwargs)

        return wrapper

    return decorate


def _require_key(view: View[P]) -> View[P]:
    """Require a key, with or without "Bearer" (Novita's JavaScript SDK omits it).

    Any key except "invalid" is accepted.
    """

    @wraps(view)
    def wrapper(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        header = request.headers.get("Authorization", "").strip()
        if not header:
            return _error(400, "MISSING_API_KEY", "missing api-key")
        key = re.sub(r"^Bearer\b\s*", "", header, flags=re.IGNORECASE)
        if not key or key == "invalid":
            return _error(403, "INVALID_API_KEY", "invalid api-key")
        return view(request, *args, **kwargs)

    return wrapper


def _error(status: int, reason: str, message: str) -> JsonResponse:
    return JsonResponse(
        {"code": status, "reason": reason, "message": message, "metadata": {}}, status=status
    )


@_upstream("POST")
@_require_key
def txt2img(request: HttpRequest) -> HttpResponse:
    """Handle POST /v3/async/txt2img: 200 with {"task_id"} only."""
    try:
        body = Txt2ImgBody.model_validate_json(request.body)
    except ValidationError as error:
        return _error(400, "INVALID_REQUEST_BODY", explain(error))
    if b"\\u0000" in request.body or b"\0" in request.body:
        return _error(400, "INVALID_REQUEST_BODY", "the body holds a NUL character")
    if (
        body.request.enable_transparent_background
        and catalogue.is_sdxl(body.request.model_name) is False
    ):
        message = (
            "request.enable_transparent_background needs an SDXL model, and"
            f" {body.request.model_name} is none."
        )
        return _error(400, "INVALID_REQUEST_BODY", message)
    bare, steering = webhooks.remove_webhook(body), parse_steering(body.request.prompt)
    if refused := _find_refusal(bare, steering):
        return refused
    seed = (
        body.request.seed
        if body.request.seed != SEED_RANDOM
        else random.SystemRandom().randrange(2**32)
    )
    task = SandboxTask.objects.submit(bare, seed)
    if "lost-silent" not in steering:
        webhooks.announce_result(task, body.extra.webhook, request.build_absolute_uri("/"))
    if "lost" in steering or "lost-silent" in steering:
        return _error(500, "CREATE_TASK_FAILED", "internal error")
    return JsonResponse({"task_id": str(task.task_id)})


def _find_refusal(body: Txt2ImgBody, steering: Steering) -> HttpResponse | None:
    """Return the error that the prompt requests; no task is created then."""
    if "busy" in steering and SandboxRefusal.objects.turns_away(
        sha256(body.model_dump_json().encode()).hexdigest()
    ):
        return _error(429, "RATE_LIMIT_EXCEEDED", "rate limit exceeded, please try again later")
    if "reject" in steering:
        return _error(400, "ILLEGAL_PROMPT", "the prompt was refused, as sandbox:reject asks")
    if "broke" in steering:
        return _error(400, "BILLING_BALANCE_NOT_ENOUGH", "balance not enough")
    if wanted := refusals.find_requested_error(steering):
        return _error(*wanted, "the sandbox was asked for this error")
    return None


@_upstream("GET")
@_require_key
def task_result(request: HttpRequest) -> HttpResponse:
    """Handle GET /v3/async/task-result?task_id=."""
    task = _find_task(request.GET.get("task_id", ""))
    if task is None:
        return _error(404, "TASK_NOT_FOUND", "task not found")
    return JsonResponse(
        results.make_reply(task, timezone.now(), request.build_absolute_uri).to_wire()
    )


@_upstream("GET")
@_require_key
def models(request: HttpRequest) -> HttpResponse:
    """Handle GET /v3/model.

    Accepts both spellings in use: ``filter.types`` and the JavaScript SDK's ``filter[types]``.
    """
    asked = {
        re.sub(r"\[(\w+)\]", r".\1", name): value for name, value in request.GET.dict().items()
    }
    try:
        page = catalogue.list_page(asked)
    except ValueError as error:
        return _error(400, "INVALID_REQUEST_BODY", str(error))
    return JsonResponse(page.to_wire())


@_upstream("GET")
def image(request: HttpRequest, task_id: uuid.UUID, position: int, extension: str) -> HttpResponse:
    """Return an image at its presigned URL, without a key. Errors are S3's XML."""
    now = timezone.now()
    verdict = signing.verify_query(request.path, request.GET.dict(), now)
    if verdict is signing.Verdict.FORGED:
        return _s3_error(
            403, "SignatureDoesNotMatch", "The request signature we calculated does not match.", now
        )
    if verdict is signing.Verdict.EXPIRED:
        return _s3_error(403, "AccessDenied", "Request has expired", now)
    task = SandboxTask.objects.filter(pk=task_id).first()
    if task is None or results.is_missing(task, position):
        return _s3_error(404, "NoSuchKey", "The specified key does not exist.", now)
    content = pictures.render_picture(task.accepted.request, int(task.seed), position, extension)
    if "corrupt" in parse_steering(task.accepted.request.prompt):
        content = content[: len(content) // 2] if position % 2 == 0 else _HTML_INSTEAD
    return HttpResponse(content, content_type=f"image/{extension}")


def _find_task(task_id: str) -> SandboxTask | None:
    try:
        return SandboxTask.objects.filter(pk=uuid.UUID(task_id)).first()
    except ValueError:
        return None


def _s3_error(status: int, code: str, message: str, now: datetime) -> HttpResponse:
    content: dict[str, Any] = {
        "Code": code,
        "Message": message,
        "ServerTime": f"{now:%Y-%m-%dT%H:%M:%SZ}",
    }
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in content.items())
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'
    return HttpResponse(body, status=status, content_type="application/xml")
