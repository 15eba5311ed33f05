"""Jobs: bounded runs over due rows, and the messages that start them.

Rows are the truth; messages only wake workers. ``wake`` sends one once the transaction is
committed. ``tick``, which the worker's scheduler calls every second, sends those that are missing:
for rows that became due by time, and for lost messages. Neither has to be right, only frequent.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from functools import cache, update_wrapper
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, QuerySet
from django.utils import timezone
from django.utils.module_loading import autodiscover_modules
from django_q.brokers import Broker, get_broker
from django_q.conf import Conf
from django_q.tasks import async_task

from generation.core.db.prepared.query import PreparedQuery
from generation.core.log_context import bound_contextvars
from generation.core.tracing import note_error, start_span
from generation.models.job_slots import JobSlot
from generation.models.service_calls import ServiceCall

log = logging.getLogger("loupe.jobs")

# Evaluated every second. All querysets together cost one query, each bool costs its own.
Due = Callable[[], "bool | QuerySet[Any]"]

HOST: str = settings.HOST_NAME
TIME_LIMIT = 20.0  # seconds, like RENEW_EVERY
RENEW_EVERY = 5.0
# A job that raised keeps its slot this long, so that a lasting fault does not spin.
COOL_DOWN = timedelta(seconds=5)
WORKERS_MAX = 100  # on one host
REGISTRY: dict[str, Job] = {}


class Pool(StrEnum):
    """Worker processes of one host that share a queue. No pool waits for another one's jobs."""

    NETWORK = "network"  # a process for each slot: these jobs wait for other services
    PERIODIC = "periodic"  # few processes for many short jobs
    COMPUTE = "compute"  # a process for each core: these jobs keep networks in memory


def _never() -> bool:
    return False


_stopping: Callable[[], bool] = _never


def stop_when(check: Callable[[], bool]) -> None:
    """End runs early, and start none, once ``check`` is true."""
    global _stopping
    _stopping = check


class JobRun:
    """One run of a job: its slot and its time limit."""

    def __init__(self, slot: JobSlot, *, time_limit: float) -> None:
        self.slot = slot
        self.freed = False
        self._renewed = time.monotonic()
        self._ends = self._renewed + time_limit

    @property
    def expired(self) -> bool:
        """True if no more rows may be taken: time over, worker stopping, or slot lost."""
        return self.freed or time.monotonic() >= self._ends or _stopping()

    def renew(self) -> None:
        """Keep the slot. Call it before each outside call, outside transactions; seldom writes."""
        if not self.freed and time.monotonic() - self._renewed >= RENEW_EVERY:
            self._renewed = time.monotonic()
            self.freed = not self.slot.extend(timezone.now() + JobSlot.LEASE)

    def pause(self, wait: timedelta) -> None:
        """End the run and keep its slot closed for a while, so that due rows do not spin."""
        if not self.freed:
            self.slot.extend(timezone.now() + wait)
            self.freed = True

    def end(self) -> bool:
        """Give the slot back; False if the run had lost it or was paused."""
        return not self.freed and self.slot.extend(None)


class Job:
    """A registered job. The queue calls it by its path: one run, if a slot is free."""

    def __init__(
        self,
        function: Callable[[JobRun], None],
        *,
        name: str,
        due: Due,
        slots: int,
        time_limit: float,
        pool: Pool = Pool.PERIODIC,
    ) -> None:
        self.function, self.name, self.due = function, name, due
        self.slots, self.time_limit, self.pool = slots, time_limit, pool
        self.path = f"{function.__module__}.{function.__qualname__}"
        update_wrapper(self, function)

    def __repr__(self) -> str:
        return f"<Job {self.name}>"

    def __call__(self) -> None:
        run = None if _stopping() else self._begin()
        if run is None:
            return
        number = uuid.uuid4().hex[:12]
        with (
            bound_contextvars(job=self.name, run=number),
            start_span(f"job {self.name}", **{"loupe.job": self.name, "loupe.run": number}),
        ):
            self._run(run)

    def _run(self, run: JobRun) -> None:
        began, outcome = time.monotonic(), ServiceCall.Outcome.DONE
        try:
            self.function(run)
        except Exception as error:
            # Not raised: the queue would store the text with signed URLs, which the log redacts.
            log.exception("The job %s failed", self.name)
            note_error(error)
            run.pause(COOL_DOWN)
            outcome = ServiceCall.Outcome.FAILED
        finally:
            was_held = run.end()
        # Wake-ups are dropped while the slot is taken, and a run may end before its rows do.
        if was_held and not _stopping() and self.is_due():
            send_wakeup(self.name)
        # Last, because a run that is not counted costs nothing else.
        ServiceCall.objects.create(
            service=self.name,
            kind=ServiceCall.Kind.JOB,
            outcome=outcome,
            milliseconds=round(1000 * (time.monotonic() - began)),
        )

    def is_due(self) -> bool:
        due = self.due()
        return due.exists() if isinstance(due, QuerySet) else due

    def _begin(self) -> JobRun | None:
        with transaction.atomic():
            JobSlot.objects.filter(name=self.name, host=JobSlot.ANY_HOST).update(wanted_at=None)
            slot = JobSlot.objects.claim(name=self.name, host=HOST, slots=self.slots)
        return JobRun(slot, time_limit=self.time_limit) if slot else None


def job(
    name: str,
    *,
    due: Due,
    pool: Pool = Pool.PERIODIC,
    slots: int = 1,
    time_limit: float = TIME_LIMIT,
) -> Callable[[Callable[[JobRun], None]], Job]:
    """Register a function of an app's ``tasks`` module as the job ``name``.

    ``due`` returns the due rows as a queryset, or a bool. ``slots`` limits the runs side by side on
    one host, so that a backlog never occupies its whole ``pool``. ``time_limit`` is in seconds.
    """
    if not name.isidentifier() or name == JobSlot.WORKER:
        raise ValueError(f"{name!r} must be a plain word: a query uses it as a column name.")

    def register(function: Callable[[JobRun], None]) -> Job:
        found = Job(function, name=name, due=due, slots=slots, time_limit=time_limit, pool=pool)
        if REGISTRY.setdefault(name, found).path != found.path:
            raise ValueError(f"Two jobs are called {name}: {REGISTRY[name].path}, {found.path}.")
        REGISTRY[name] = found
        return found

    return register


def wake(name: str) -> None:
    """Ask for a run once the surrounding transaction is committed. Never fails the caller."""

    def send() -> None:
        try:
            send_wakeup(name)
        except Exception:
            log.exception("No wake-up was sent for the job %s; the next tick sends one", name)

    transaction.on_commit(send)


_SLOTS = PreparedQuery(lambda name: JobSlot.objects.filter(name=name), name=str)


def send_wakeup(name: str) -> bool:
    """Send a message unless one is on its way or every slot is taken; True if one was sent."""
    found, now = find(name), timezone.now()
    rows = {(row.host, row.number): row for row in _SLOTS.rows(name=name)}
    wakeup = rows.pop((JobSlot.ANY_HOST, 0), None)
    if wakeup is None:
        wakeup, _ = JobSlot.objects.get_or_create(name=name, host=JobSlot.ANY_HOST)
    if wakeup.is_wanted(now) or (rows and all(row.is_running(now) for row in rows.values())):
        return False  # the run that ends next checks again
    if not wakeup.note_wakeup(now):
        return False
    async_task(found.path, task_name=name, broker=find_broker(found.pool))
    return True


def wake_another(run: JobRun) -> None:
    """Start a further run of the same job if a slot is free: more rows wait than one run takes.

    Otherwise only the scheduler adds runs, one each second.
    """
    try:
        send_wakeup(run.slot.name)
    except Exception:
        log.exception("No further run of %s was started; the next tick does", run.slot.name)


def tick() -> list[str]:
    """Wake each job that is due, has no message on its way, and has a free slot on this host."""
    answers = {name: each.due() for name, each in REGISTRY.items()}
    rows = _read_slots(
        **{f"due_{name}": Exists(due) for name, due in answers.items() if isinstance(due, QuerySet)}
    )
    now = timezone.now()

    def is_needed(name: str) -> bool:
        due = answers[name]
        # Each column is an EXISTS over other tables, so it is the same in every row.
        if not (getattr(rows[0], f"due_{name}") if isinstance(due, QuerySet) else due):
            return False
        mine = [row for row in rows if row.name == name]
        running = sum(row.is_running(now) for row in mine)
        return running < REGISTRY[name].slots and not any(row.is_wanted(now) for row in mine)

    return [name for name in sorted(answers) if is_needed(name) and send_wakeup(name)]


def _read_slots(**columns: Any) -> list[JobSlot]:
    """Read the wake-ups and this host's slots, and the columns, in one query."""
    query = JobSlot.objects.filter(host__in=(JobSlot.ANY_HOST, HOST)).annotate(**columns)
    rows = list(query)
    if not rows and REGISTRY:
        new = [JobSlot(name=name) for name in REGISTRY]
        JobSlot.objects.bulk_create(new, ignore_conflicts=True)
        rows = list(query.all())
    return rows


class Heartbeat:
    """A worker's sign of life for the operators' pages. Two workers on a host use two slots."""

    def __init__(self) -> None:
        self._slot: JobSlot | None = None

    def send_heartbeat(self) -> None:
        """Renew the slot, or take a new one. Call it every few seconds."""
        if self._slot is None or not self._slot.extend(timezone.now() + JobSlot.LEASE):
            self._slot = JobSlot.objects.claim(name=JobSlot.WORKER, host=HOST, slots=WORKERS_MAX)


def start_over() -> None:
    """Replace this host's slots by free ones; delete slots of other hosts without a lease.

    Called when a worker starts: the processes of this host's earlier runs are dead. The slots must
    exist, because ``send_wakeup`` counts the free ones of all hosts.
    """
    JobSlot.objects.filter(host=HOST).delete()
    JobSlot.objects.free(timezone.now()).exclude(host__in=_list_living_hosts()).delete()
    JobSlot.objects.bulk_create(
        JobSlot(name=each.name, host=HOST, number=number)
        for each in REGISTRY.values()
        for number in range(each.slots)
    )


def _list_living_hosts() -> list[str]:
    return list(JobSlot.objects.alive(timezone.now()).values_list("host", flat=True))


def count_processes() -> dict[Pool, int]:
    """Return the number of worker processes of each pool on this host."""
    network = sum(each.slots for each in REGISTRY.values() if each.pool == Pool.NETWORK)
    return {
        Pool.NETWORK: max(1, network),
        Pool.PERIODIC: settings.PERIODIC_WORKERS,
        Pool.COMPUTE: settings.WORKERS,
    }


def find(name: str) -> Job:
    if name not in REGISTRY:
        discover()
    return REGISTRY[name]


def discover() -> None:
    """Import the ``tasks`` module of every app, which registers its jobs."""
    autodiscover_modules("tasks")


@cache
def find_broker(pool: Pool) -> Broker:
    """Return the queue of a pool; each pool has its own, so that none delays another."""
    # A new broker for each message would open a new connection to Redis each time.
    return get_broker(f"{Conf.CLUSTER_NAME}-{pool}")
