"""Pages of the whole house: today, preferences, health."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import TextChoices
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect, JsonResponse
from django.shortcuts import render, resolve_url
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST

from generation.models import GenerationRequest
from moderation import queues
from moderation.models import Classification, Decision, Preferences, Review
from moderation.screen import entries, rail

if TYPE_CHECKING:
    from django.contrib.auth.models import User

RECENT = 10
SWITCH = {"on": True, "off": False}
CHOICES: dict[str, Callable[[str], TextChoices]] = {"theme": Preferences.Theme, "surround": Preferences.Surround}


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """Today: what waits, what I did, what runs, what went wrong."""
    user: User = request.user  # type: ignore[assignment]  # LoginRequiredMiddleware lets nobody else through
    mine = Decision.objects.filter(reviewer=user).newest_first()
    recent = mine.select_related("reviewer", "policy", "reversed_by", "review__asset")[:RECENT]
    counted = rail(user)
    oldest = {queue.slug: queue.reviews(user).order_by("pk").first() for queue, _ in counted["rail"]}
    context = {
        "queues": [(queue, count, oldest[queue.slug]) for queue, count in counted["rail"]],
        "today": counted["today"],
        "recent": entries(recent, user),
        **_running(user),
        **_wrong(user),
    }
    return render(request, "home.html", context)


def _running(user: User) -> dict[str, Any]:
    rows = GenerationRequest.objects.visible_to(user).open()
    count = rows.values("pk")[: queues.COUNT_LIMIT + 1].count()
    classifying = queues.bounded_count(Review.objects.filter(status=Review.Status.CLASSIFYING))
    return {
        "running": list(rows.order_by("-created_at", "-pk")[:5]),
        "running_count": f"{queues.COUNT_LIMIT}+" if count > queues.COUNT_LIMIT else count,
        "classifying_count": classifying,
    }


def _wrong(user: User) -> dict[str, Any]:
    """Requests that failed since yesterday or need somebody, and images no classifier could judge that still wait."""
    seen = GenerationRequest.objects.visible_to(user)
    unknown = seen.filter(status=GenerationRequest.Status.UNKNOWN).order_by("-created_at")
    failed = seen.filter(status=GenerationRequest.Status.FAILED, created_at__gte=_yesterday()).order_by("-created_at")
    runs = Classification.objects.filter(status=Classification.Status.FAILED, created_at__gte=_yesterday())
    waiting = runs.filter(asset__review__status__in=[Review.Status.PENDING, Review.Status.ESCALATED])
    visible = waiting if user.has_perm("moderation.view_review") else waiting.none()
    return {
        "unknown": list(unknown[:5]),
        "failed": list(failed[:5]),
        "unjudged": list(visible.select_related("asset__review").order_by("-pk")[:5]),
    }


def _yesterday() -> datetime:
    return timezone.now() - timedelta(days=1)


@require_POST
@login_not_required
def preferences(request: HttpRequest) -> HttpResponse:
    """Change those that were sent. Nothing is stored for people who are not logged in."""
    try:
        changes = _changes(request)
    except (KeyError, ValueError):
        return HttpResponseBadRequest("There is no such preference.", content_type="text/plain")
    if request.user.is_authenticated and changes:
        Preferences.objects.update_or_create(user=request.user, defaults=changes)
    if getattr(request, "htmx", False):
        return HttpResponse(status=204)
    back = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
    return HttpResponseRedirect(back if safe else resolve_url("home"), status=303)


def _changes(request: HttpRequest) -> dict[str, Any]:
    changes: dict[str, Any] = {name: SWITCH[request.POST[name]] for name in ("hotkeys", "blur") if name in request.POST}
    for name in CHOICES:
        if name in request.POST:
            changes[name] = CHOICES[name](request.POST[name]).value
    return changes


@require_GET
@login_not_required
def healthz(request: HttpRequest) -> HttpResponse:
    """This process answers."""
    return HttpResponse("ok", content_type="text/plain")


@require_GET
@login_not_required
def readyz(request: HttpRequest) -> JsonResponse:
    """The database answers and has every migration; else 503, so that no traffic is sent here yet."""
    state = {"database": "ok", "migrations": "ok"}
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            state["migrations"] = "missing"
    except DatabaseError:
        state = {"database": "unreachable", "migrations": "unknown"}
    return JsonResponse(state, status=200 if set(state.values()) == {"ok"} else 503)
