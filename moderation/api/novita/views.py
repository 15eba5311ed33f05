"""Novita's txt2img API, served by Loupe. Only approved images are delivered.

Pages: https://novita.ai/docs/api-reference/model-apis-txt2img, .../model-apis-task-result,
.../model-apis-get-model. docs/api.md lists the differences. Tests run the
published clients.
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
    """Serve POST /v3/async/txt2img. Novita's SDKs accept nothing but 200 and a task_id."""
    return json_response({"task_id": str(submissions.submit(call))})


@novita_endpoint("GET", failure="GET_RESULT_FAILED")
def task_result(call: Call) -> HttpResponse:
    """Serve GET /v3/async/task-result?task_id=. A key finds its own requests only."""
    request = None
    try:
        task_id = uuid.UUID(call.request.GET.get("task_id", ""))
    except ValueError:
        pass
    else:
        request = GenerationRequest.objects.filter(api_key=call.key, uuid=task_id).first()
    if request is None:
        raise ApiError(ApiErrorCode.NOT_FOUND, "This key has no task with this id.")
    return json_response(results.reply(request))


@novita_endpoint("GET", failure="GET_RESULT_FAILED")
def models(call: Call) -> HttpResponse:
    """Serve GET /v3/model.

    ``filter.types`` may be spelled ``filter[types]``, as the JavaScript SDK does.
    """
    asked = {
        re.sub(r"\[(\w+)\]", r".\1", name): str(value) for name, value in call.request.GET.items()
    }
    return json_response(model_list.page(asked).to_wire())


@csrf_exempt
@login_not_required
def unknown(request: HttpRequest) -> HttpResponse:
    """Answer every other URL in Novita's format, because clients cannot read a page."""
    return errors.body(404, "API_NOT_FOUND", "Loupe has no such endpoint.")
