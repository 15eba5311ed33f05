from __future__ import annotations

import logging
import os
import socket
import sys
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connections
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import OrmQ

from config.worker.cluster import Cluster
from config.worker.scheduler import Scheduler
from generation import jobs
from generation.services import storage_checks
from moderation.services import housekeeping

GRACE = 20.0
log = logging.getLogger("loupe.engine")


class Command(BaseCommand):
    help = (
        "Run the worker. The exit code is 0 after a stop signal, and 70 after a "
        "fault: restart it then."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--grace",
            type=float,
            default=GRACE,
            help="seconds that running jobs get after SIGTERM (default: %(default)s)",
        )

    def handle(self, *args: Any, grace: float, **options: Any) -> None:
        jobs.discover()
        jobs.start_over()
        if Conf.ORM:
            # Delete messages that waited while no worker ran; the rows contain the same work.
            OrmQ.objects.filter(lock__lt=timezone.now() - timedelta(minutes=1)).delete()
        storage_checks.start_host()
        housekeeping.add_chores()
        connections.close_all()
        cluster, ticker = Cluster(grace=grace), Scheduler()
        cluster.start()
        ticker.start()
        log.info(
            "worker %d on %s: started, %d processes",
            os.getpid(),
            socket.gethostname(),
            Conf.WORKERS,
        )
        code = cluster.wait()
        ticker.stop()
        if code == 0:
            log.info("worker %d on %s: stopped in order", os.getpid(), socket.gethostname())
        sys.exit(code)
