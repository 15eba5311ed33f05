"""The Providers page, for operators."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from generation.models import GenerationRequest
from generation.providers.base import ProviderError
from generation.services import health, spending
from moderation.presenters.providers import (
    build_report,
    list_services,
    load_health,
    make_harmless_call,
)

UNKNOWN_SHOWN = 20


def require_operator(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Restrict a view to people who may resolve requests of unknown outcome."""

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.has_perm("generation.resolve_request"):
            raise PermissionDenied("The providers are for operators and senior moderators.")
        return view(request, *args, **kwargs)

    return wrapper


@require_safe
@require_operator
def providers(request: HttpRequest) -> HttpResponse:
    unknown = GenerationRequest.objects.visible_to(request.user).filter(
        status=GenerationRequest.Status.UNKNOWN
    )
    limit = settings.SPENDING_LIMIT_PER_DAY
    services = load_health()
    context = {
        "reports": [build_report(service, found) for service, found in services if found.is_in_use],
        "not_in_use": [service for service, found in services if not found.is_in_use],
        "unknown": unknown.order_by("-created_at", "-pk")[:UNKNOWN_SHOWN],
        "spent_today": spending.sum_spending(spending.start_of_day()),
        "spent_this_month": spending.sum_spending(spending.start_of_month()),
        "limit": None if limit is None else limit.normalize(),
        "midnight": spending.start_of_next_day(),
    }
    return render(request, "providers.html", context)


@require_POST
@require_operator
def check(request: HttpRequest, slug: str) -> HttpResponse:
    """Make one harmless call with the key and report the result."""
    service = next(
        (service for service in list_services() if service.slug == slug and service.base_url), None
    )
    if service is None:
        raise Http404("There is no such service, or it is off.")
    try:
        make_harmless_call(slug)
    except ProviderError as error:
        health.record_failure(slug, str(error))
        messages.error(request, f"The check of {service.label} failed. {error}")
    else:
        health.record_success(slug)
        messages.success(request, f"{service.label} responds and accepts the key.")
    return redirect("providers")
