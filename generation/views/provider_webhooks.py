"""Webhooks that providers call."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from generation.services import webhooks


@csrf_exempt
@login_not_required
@require_POST
def novita_webhook(request: HttpRequest, secret: str) -> HttpResponse:
    """Receive Novita's message that a task has ended.

    Calls without a known secret are refused before the body is read.
    """
    if not webhooks.is_known(secret):
        return HttpResponse(status=404)
    body = request.read(webhooks.BODY_MAX + 1)
    if len(body) > webhooks.BODY_MAX:
        return HttpResponse(status=413)
    webhooks.receive_call(secret=secret, body=body)
    return HttpResponse(status=204)
