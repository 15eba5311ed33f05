from __future__ import annotations

import time

from django.contrib.auth.models import Group
from django.utils import timezone

from generation.jobs import Turn, pump


@pump("stamp", due=lambda: Group.objects.filter(name__startswith="new "))
def stamp(turn: Turn) -> None:
    """Say in the row when its work was done."""
    for group in Group.objects.filter(name__startswith="new "):
        Group.objects.filter(pk=group.pk).update(name=f"done {group.name[4:]} {timezone.now().timestamp()}")


@pump("hold", due=lambda: Group.objects.filter(name="hold").exists(), budget=60)
def hold(turn: Turn) -> None:
    """Keep a worker busy for as long as the row is there."""
    while not turn.expired and Group.objects.filter(name="hold").exists():
        turn.renew()
        time.sleep(0.05)


@pump("stubborn", due=lambda: Group.objects.filter(name="stubborn"))
def stubborn(turn: Turn) -> None:
    """Keep a worker busy without ever looking at the turn."""
    time.sleep(60)


@pump("broken", due=lambda: Group.objects.filter(name="broken"))
def broken(turn: Turn) -> None:
    Group.objects.create(name=f"broke {timezone.now().timestamp()}")
    raise RuntimeError("broken on purpose")
