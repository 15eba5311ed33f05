"""Health probes: /healthz shows that the process responds, /readyz that it can work.

A check is a function that returns "ok" or a problem. Add it to CHECKS, or to NOTICES if this
process can serve pages despite the problem.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_q.brokers import get_broker

from config.draining import is_draining
from generation.core.outages import RETRY_AFTER, find_outage
from generation.models import JobSlot
from generation.services import storage_checks

log = logging.getLogger("loupe.probes")

OK = "ok"
MIB = 1024 * 1024
DISK_FREE_MIN = 64 * MIB
Check = Callable[[], str]
View = Callable[[HttpRequest], HttpResponse]


def check_database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return OK


class MigrationCheck:
    """A check that all migrations are applied.

    Repeated only until they are, because loading the migrations takes 10 ms of CPU time.
    """

    def __init__(self) -> None:
        self.is_complete = False

    def __call__(self) -> str:
        if not self.is_complete:
            executor = MigrationExecutor(connection)
            self.is_complete = not executor.migration_plan(executor.loader.graph.leaf_nodes())
        return OK if self.is_complete else "missing"


def check_queue() -> str:
    """Ping Redis if it is the queue; otherwise the queue is a database table."""
    get_broker().ping()
    return OK


def check_server() -> str:
    """Report a server that is about to stop."""
    return "draining" if is_draining() else OK


def check_disk() -> str:
    """Report a data folder that is nearly full, although the images may be elsewhere."""
    free = shutil.disk_usage(settings.DATA_DIR).free
    if free >= DISK_FREE_MIN:
        return OK
    return f"{free // MIB} MiB are free in {settings.DATA_DIR}. Free some space there."


def check_workers() -> str:
    """Report that no worker of any host has sent a heartbeat lately."""
    if JobSlot.objects.alive(timezone.now()).exists():
        return OK
    return "No worker has reported in the last minute. Start one: qworker."


CHECKS: dict[str, Check] = {
    "server": check_server,
    "database": check_database,
    "migrations": MigrationCheck(),
    "queue": check_queue,
}


# Stored images can be viewed and decided even if no new image can be stored.
NOTICES: dict[str, Check] = {
    "storage": storage_checks.describe_state,
    "disk": check_disk,
    "workers": check_workers,
}


def run_checks(checks: Mapping[str, Check]) -> dict[str, str]:
    return {name: _run_check(name, check) for name, check in checks.items()}


def _run_check(name: str, check: Check) -> str:
    try:
        return check()
    except Exception as error:
        if find_outage(error) is not None:
            return "unreachable"
        log.exception("The readiness check %s failed", name)
        return "failed"


@require_safe
@never_cache
def show_health(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok", content_type="text/plain")


@require_safe
@never_cache
def show_readiness(request: HttpRequest) -> HttpResponse:
    """Return 200 if all checks pass, else 503 so that no traffic is sent here.

    Notices do not affect the status.
    """
    state = run_checks(CHECKS)
    is_ready = set(state.values()) == {OK}
    state |= run_checks(NOTICES)
    if is_ready:
        return JsonResponse(state)
    return JsonResponse(state, status=503, headers={"Retry-After": str(RETRY_AFTER)})


PROBES: dict[str, View] = {"/healthz": show_health, "/readyz": show_readiness}


class ProbeMiddleware:
    """A middleware that answers probes before all others: any host name, no TLS redirect.

    Orchestrators call the container's IP address without TLS.
    """

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        probe = PROBES.get(request.path_info)
        return probe(request) if probe else self.get_response(request)
