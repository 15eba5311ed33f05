"""Pumps: bounded runs over due rows, and the bell that starts them. Rows are the truth, messages
only wake workers.

A pump is a function that works through due rows until none is left or its turn is over. ``wake``
asks for a run once the transaction is committed; ``tick``, called every second by the worker, asks
for the runs that nobody asked for: rows that became due by time, messages that were lost. Neither
ever needs to be right, only frequent.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache, update_wrapper
from typing import Any

from django.db import transaction
from django.db.models import Exists, QuerySet
from django.utils import timezone
from django.utils.module_loading import autodiscover_modules
from django_q.brokers import Broker, get_broker
from django_q.tasks import async_task

from generation.models.job_slots import JobSlot

log = logging.getLogger("loupe.pumps")

# Cheap to ask every second. A queryset is better than a bool: the tick asks for all of them in one
# query.
Due = Callable[[], "bool | QuerySet[Any]"]

HOST = socket.gethostname()
TIME_LIMIT = 20.0
RENEW_EVERY = 5.0
# A pump that raised keeps its slot this long, so that a fault that stays does not spin.
COOL_DOWN = timedelta(seconds=5)
WORKERS_MAX = 100  # on one host
REGISTRY: dict[str, Job] = {}


def _never() -> bool:
    return False


_stopping: Callable[[], bool] = _never


def stop_when(check: Callable[[], bool]) -> None:
    """Let the worker end running turns early: ``expired`` becomes true as soon as ``check``
    does.
    """
    global _stopping
    _stopping = check


class JobRun:
    """One run of a pump: how long it may go on, and the slot it holds."""

    def __init__(self, *, name: str, number: int, until: datetime, time_limit: float) -> None:
        self.name, self.number, self.until = name, number, until
        self.freed = False
        self._ends = time.monotonic() + time_limit
        self._renewed = time.monotonic()

    @property
    def expired(self) -> bool:
        """True when the pump should stop taking rows: budget over, worker stopping, or slot given
        to another run.
        """
        return self.freed or time.monotonic() >= self._ends or _stopping()

    def renew(self) -> None:
        """Keep the slot. Call it before each outside call and not in a transaction; it seldom
        writes.
        """
        if self.freed or time.monotonic() - self._renewed < RENEW_EVERY:
            return
        self._renewed = time.monotonic()
        until = timezone.now() + JobSlot.LEASE
        self.freed = not self._extend(until)
        self.until = until

    def end(self, *, until: datetime | None = None) -> None:
        """Give the slot back, or keep it closed until then. A slot that was freed meanwhile is not
        touched.
        """
        if not self.freed:
            self.freed = not self._extend(until)

    def pause(self, wait: timedelta) -> None:
        """End the run and keep its slot closed for a while, so that rows that stay due do not make
        it spin.
        """
        self.end(until=timezone.now() + wait)
        self.freed = True

    def _extend(self, until: datetime | None) -> bool:
        slots = JobSlot.objects
        return slots.extend(
            name=self.name, host=HOST, number=self.number, held=self.until, until=until
        )


class Job:
    """A registered pump. Calling it, which the queue does by its dotted path, makes one run if a
    slot is free.
    """

    def __init__(
        self,
        function: Callable[[JobRun], None],
        *,
        name: str,
        due: Due,
        slots: int,
        time_limit: float,
    ) -> None:
        self.function, self.name, self.due, self.slots, self.time_limit = (
            function,
            name,
            due,
            slots,
            time_limit,
        )
        self.path = f"{function.__module__}.{function.__qualname__}"
        update_wrapper(self, function)

    def __repr__(self) -> str:
        return f"<Pump {self.name}>"

    def __call__(self) -> None:
        if _stopping():
            return
        run = self._begin()
        if run is None:
            return
        try:
            self.function(run)
        except Exception:
            # Not raised: the queue would store the text, signed addresses included, where the log
            # redacts them.
            log.exception("The pump %s failed", self.name)
            run.end(until=timezone.now() + COOL_DOWN)
            return
        except BaseException:
            # The queue's time limit, or the end of the process.
            run.end()
            raise
        run.end()
        # Whoever called wake() while the slot was taken sent no message, and a turn may end before
        # its rows do.
        if not run.freed and not _stopping() and self.is_due():
            send_wakeup(self.name)

    def is_due(self) -> bool:
        due = self.due()
        return due.exists() if isinstance(due, QuerySet) else due

    def _begin(self) -> JobRun | None:
        with transaction.atomic():
            JobSlot.objects.filter(name=self.name, host=JobSlot.ANY_HOST).update(wanted_at=None)
            run = self._claim()
            if (
                run is None
                and JobSlot.objects.filter(name=self.name, host=HOST).count() < self.slots
            ):
                new = [
                    JobSlot(name=self.name, host=HOST, number=number)
                    for number in range(self.slots)
                ]
                JobSlot.objects.bulk_create(new, ignore_conflicts=True)
                run = self._claim()
        return run

    def _claim(self) -> JobRun | None:
        for number in range(self.slots):
            until = JobSlot.objects.claim(
                name=self.name, host=HOST, number=number, now=timezone.now()
            )
            if until is not None:
                return JobRun(
                    name=self.name, number=number, until=until, time_limit=self.time_limit
                )
        return None


def job(
    name: str, *, due: Due, slots: int = 1, time_limit: float = TIME_LIMIT
) -> Callable[[Callable[[JobRun], None]], Job]:
    """Register a function in an app's ``tasks`` module as the pump ``name``.

    ``due`` says whether there is anything to do: a queryset of the due rows, or a bool. ``slots``
    limits how many runs one host makes side by side, so that one backlog never occupies every
    worker. ``budget`` is in seconds.
    """
    if not name.isidentifier() or name == JobSlot.WORKER:
        raise ValueError(
            f"{name!r} must be a plain word: the tick's query uses it as a column name."
        )

    def register(function: Callable[[JobRun], None]) -> Job:
        found = Job(function, name=name, due=due, slots=slots, time_limit=time_limit)
        if REGISTRY.setdefault(name, found).path != found.path:
            raise ValueError(
                f"Two pumps are called {name}: {REGISTRY[name].path} and {found.path}."
            )
        REGISTRY[name] = found
        return found

    return register


def wake(name: str) -> None:
    """Ask for a run of the pump once the surrounding transaction is committed. Never fails the
    caller.
    """

    def answer() -> None:
        try:
            send_wakeup(name)
        except Exception:
            log.exception("Nobody could be woken for the pump %s; the tick will notice", name)

    transaction.on_commit(answer)


def send_wakeup(name: str) -> bool:
    """Send a message now, unless one is on its way or every slot is busy; True when one was
    sent.
    """
    path, now = find(name).path, timezone.now()
    rows = list(JobSlot.objects.filter(name=name))
    wakeup = next((row for row in rows if row.host == JobSlot.ANY_HOST), None)
    slots = [row for row in rows if row.host != JobSlot.ANY_HOST]
    if wakeup is None:
        JobSlot.objects.bulk_create([JobSlot(name=name)], ignore_conflicts=True)
    elif wakeup.is_wanted(now):
        return False
    if slots and all(slot.is_running(now) for slot in slots):
        return False  # the run that ends next looks again
    if not JobSlot.objects.send_wakeup(name=name, now=now):
        return False
    async_task(path, task_name=name, broker=_broker())
    return True


def tick() -> list[str]:
    """Ring for every pump whose rows are due and that has no message on its way and a free slot
    here.
    """
    due: set[str] = set()
    asked: dict[str, Exists] = {}
    for each in list(REGISTRY.values()):
        answer = each.due()
        if isinstance(answer, QuerySet):
            asked[each.name] = Exists(answer)
        elif answer:
            due.add(each.name)
    rows = _ask(asked)
    # Each column is one EXISTS over other tables, the same in every row.
    due |= {name for name in asked if rows and getattr(rows[0], f"due_{name}")}
    now = timezone.now()
    closed = {row.name for row in rows if row.host == JobSlot.ANY_HOST and row.is_wanted(now)}
    for each in REGISTRY.values():
        running = sum(
            row.is_running(now) for row in rows if row.name == each.name and row.host == HOST
        )
        if running >= each.slots:
            closed.add(each.name)
    return [name for name in sorted(due - closed) if send_wakeup(name)]


def _ask(asked: dict[str, Exists]) -> list[JobSlot]:
    """Read the bells and this host's slots together with the answer to every question, in one
    query.
    """
    columns: dict[str, Any] = {f"due_{name}": question for name, question in asked.items()}
    query = JobSlot.objects.filter(host__in=(JobSlot.ANY_HOST, HOST)).annotate(**columns)
    rows = list(query)
    if not rows and REGISTRY:
        JobSlot.objects.bulk_create(
            [JobSlot(name=name) for name in REGISTRY], ignore_conflicts=True
        )
        rows = list(query.all())
    return rows


class Heartbeat:
    """Says that this worker is alive, for pages that tell operators so. Two workers on one host
    take two numbers.
    """

    def __init__(self) -> None:
        self._held: tuple[int, datetime] | None = None

    def send_heartbeat(self) -> None:
        """Call it every few seconds."""
        until = timezone.now() + JobSlot.LEASE
        if self._held is not None:
            number, held = self._held
            if JobSlot.objects.extend(
                name=JobSlot.WORKER, host=HOST, number=number, held=held, until=until
            ):
                self._held = number, until
                return
        self._held = self._claim()

    def _claim(self) -> tuple[int, datetime] | None:
        for number in range(WORKERS_MAX):
            new = JobSlot(name=JobSlot.WORKER, host=HOST, number=number)
            JobSlot.objects.bulk_create([new], ignore_conflicts=True)
            until = JobSlot.objects.claim(
                name=JobSlot.WORKER, host=HOST, number=number, now=timezone.now()
            )
            if until is not None:
                return number, until
        return None


def start_over() -> None:
    """Forget this host's runs and every silent bell. For the start of a worker, when all its old
    children are dead.

    Rows of hosts that are gone are dropped too; a run that still holds a lease elsewhere keeps it.
    """
    JobSlot.objects.filter(host=HOST).delete()
    JobSlot.objects.free(timezone.now()).delete()


def find(name: str) -> Job:
    if name not in REGISTRY:
        discover()
    return REGISTRY[name]


def discover() -> None:
    """Import every app's ``tasks``, which is where pumps register."""
    autodiscover_modules("tasks")


@cache
def _broker() -> Broker:
    # A new one for every message would mean a new connection to Redis each time.
    return get_broker()
