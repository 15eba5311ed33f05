"""Pages of the whole house: today, health."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_GET

from config.home import today
from generation.htmx import respond
from moderation.views.access import DeskRequest


@require_GET
def home(request: DeskRequest) -> HttpResponse:
    """Today. To its own poll it sends the numbers and the lists alone, each for its place."""
    return respond(request, "home.html", "_home_numbers.html", today(request.user))


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
