"""Novita's txt2img, answered by Loupe: same addresses, same bodies, but only images that passed
ever leave.

Pages: https://novita.ai/docs/api-reference/model-apis-txt2img, .../model-apis-task-result,
.../model-apis-get-model. docs/api.md says what differs. What the published clients break on is
held by tests that run them.
"""

from __future__ import annotations

import re
import uuid

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from generation.models import GenerationRequest
from moderation.api.auth import ApiError, ApiErrorCode, Call, json_response
from moderation.api.novita import errors, model_list, results, submissions
from moderation.api.novita.errors import novita_endpoint


@novita_endpoint("POST", failure="CREATE_TASK_FAILED")
def txt2img(call: Call) -> HttpResponse:
    """POST /v3/async/txt2img: exactly 200 and a task_id, which is all that Novita's SDKs accept."""
    return json_response({"task_id": str(submissions.submit(call))})


@novita_endpoint("GET", failure="GET_RESULT_FAILED")
def task_result(call: Call) -> HttpResponse:
    """GET /v3/async/task-result?task_id=: the key's own requests, everybody else's are absent."""
    request = None
    try:
        task_id = uuid.UUID(call.request.GET.get("task_id", ""))
    except ValueError:
        pass
    else:
        request = GenerationRequest.objects.filter(api_key=call.key, uuid=task_id).first()
    if request is None:
        raise ApiError(ApiErrorCode.NOT_FOUND, "This key has no task of this id.")
    return json_response(results.reply(request))


@novita_endpoint("GET", failure="GET_RESULT_FAILED")
def models(call: Call) -> HttpResponse:
    """GET /v3/model. Both spellings in use: ``filter.types``, and the JavaScript SDK's
    ``filter[types]``.
    """
    asked = {
        re.sub(r"\[(\w+)\]", r".\1", name): str(value) for name, value in call.request.GET.items()
    }
    return json_response(model_list.page(asked).to_wire())


@csrf_exempt
@login_not_required
def unknown(request: HttpRequest) -> HttpResponse:
    """Every other address of theirs: a program shall never be shown a page."""
    return errors.body(404, "API_NOT_FOUND", "Loupe has no such endpoint.")
