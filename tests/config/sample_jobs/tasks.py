from __future__ import annotations

import signal
import time

from django.contrib.auth.models import Group
from django.utils import timezone

from generation.jobs import JobRun, job


@job("stamp", due=lambda: Group.objects.filter(name__startswith="new "))
def stamp(run: JobRun) -> None:
    """Write the time at which the work was done into each row."""
    for group in Group.objects.filter(name__startswith="new "):
        Group.objects.filter(pk=group.pk).update(
            name=f"done {group.name[4:]} {timezone.now().timestamp()}"
        )


@job("hold", due=lambda: Group.objects.filter(name="hold").exists(), time_limit=60)
def hold(run: JobRun) -> None:
    """Keep a worker busy as long as the row exists."""
    while not run.expired and Group.objects.filter(name="hold").exists():
        run.renew()
        time.sleep(0.05)


@job("stubborn", due=lambda: Group.objects.filter(name="stubborn"))
def stubborn(run: JobRun) -> None:
    """Keep a worker busy without ever checking the time limit of the run."""
    time.sleep(60)


@job("broken", due=lambda: Group.objects.filter(name="broken"))
def broken(run: JobRun) -> None:
    Group.objects.create(name=f"broke {timezone.now().timestamp()}")
    raise RuntimeError("broken on purpose")


@job("blocked", due=lambda: Group.objects.filter(name="blocked"))
def blocked(run: JobRun) -> None:
    """Keep a worker busy with its time limit's signal blocked, as native code can."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    time.sleep(60)
