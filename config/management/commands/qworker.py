from __future__ import annotations

import logging
import os
import sys
import time
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import connections
from django.utils import timezone
from django_q.models import OrmQ

from config.worker.cluster import Cluster
from config.worker.lock import hold_host
from config.worker.scheduler import Scheduler
from generation import jobs
from generation.core.outages import find_outage
from generation.jobs import Pool
from generation.services import storage_checks
from moderation.services import housekeeping, judgement, learning, period_counts
from moderation.services.alarms import checks

GRACE = 20.0  # seconds
log = logging.getLogger("loupe.worker")


class Command(BaseCommand):
    help = (
        "Run the worker. The exit code is 0 after a stop signal, and 70 after a "
        "fault: restart it then."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        help_text = "seconds that running jobs get after SIGTERM (default: %(default)s)"
        parser.add_argument("--grace", type=float, default=GRACE, help=help_text)

    def handle(self, *args: Any, grace: float, **options: Any) -> None:
        jobs.discover()
        cluster, scheduler = Cluster(grace=grace), Scheduler()
        held = hold_host()
        while not prepare():
            if cluster.stop_wanted:
                return
            time.sleep(1)
        pools = jobs.count_processes()
        cluster.start(pools)
        scheduler.start()
        name = f"worker {os.getpid()} on {settings.HOST_NAME}"
        sizes = ", ".join(f"{processes} {pool}" for pool, processes in pools.items())
        log.info("%s: started, %d processes (%s)", name, sum(pools.values()), sizes)
        code = cluster.wait()
        held.close()
        scheduler.stop()
        if code == 0:
            log.info("%s: stopped in order", name)
        sys.exit(code)


def prepare() -> bool:
    """Remove what earlier workers of this host left; return False if database or Redis is away."""
    try:
        jobs.find_broker(Pool.NETWORK).ping()  # django-q2 does not wait for Redis
        jobs.start_over()
        # Messages that waited while no worker ran; the rows contain the same work.
        OrmQ.objects.filter(lock__lt=timezone.now() - timedelta(minutes=1)).delete()
        storage_checks.start_host()
        housekeeping.add_chores()
        learning.add_trainings()
        judgement.add_reports()
        period_counts.add_streams()
        checks.add_check()
    except Exception as error:
        if find_outage(error) is None:
            raise
        log.exception("The worker waits to start")  # the log's filter makes it a line a minute
        return False
    finally:
        connections.close_all()
    return True
