"""Run classifiers again on stored images: select, estimate, order, schedule step by step, report.

A job schedules a few images at a time, at the rate of the order, by primary key. Each step is one
transaction that also moves the order's cursor, so an interrupted order continues and no image is
scheduled twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, F, Max, OuterRef, Q
from django.utils import timezone

from generation import jobs
from generation.models import Asset, InvalidTransitionError
from generation.services import spending
from moderation import classifiers, queues
from moderation.classifiers.base import Classifier
from moderation.models import Classification, Label, Reclassification, Resettlement, Review
from moderation.models.earlier_verdicts import KNOWN_IMAGES
from moderation.services import costs, resettlement
from moderation.services.classification import EARLIER

if TYPE_CHECKING:
    from django.contrib.auth.models import User

Scope = Reclassification.Scope
Status = Reclassification.Status
RunStatus = Classification.Status

PER_MINUTE, PER_MINUTE_MAX = 60, 6_000  # images
IMAGES_MAX = 200  # chosen one by one
NO_IMAGE = "There is no image {}."
QUEUES = ("waiting", "escalated")  # the same for everybody
ESTIMATED = 2_000  # images that an estimate reads: about a second
READ_AT_ONCE = 400  # SQLite accepts about 1,000 values in a statement
STEP_MAX = 200  # images of a step, to keep the transaction short
STEPS_PER_MINUTE = 4
# Steps whose runs may still be queued. A step beyond them waits.
STEPS_AHEAD = 5
PAUSE = timedelta(seconds=30)
BACKLOG = "The classifiers have not finished the images scheduled so far."
LEASE = timedelta(seconds=60)


class ReclassificationError(Exception):
    """An order that cannot be given. ``str(error)`` is a message for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The images of an order, and the classifiers to run on them."""

    scope: Reclassification.Scope
    target: tuple[str, ...] = ()
    classifiers: tuple[str, ...] = ()  # empty: all in use

    @classmethod
    def of(cls, order: Reclassification) -> Self:
        return cls(
            scope=Scope(order.scope),
            target=tuple(order.target),
            classifiers=tuple(order.classifiers),
        )

    @property
    def reads_reviews(self) -> bool:
        """Return whether the images are selected, and the cursor counts, by review."""
        return self.scope in (Scope.QUEUE, Scope.WAITING)

    def check(self) -> None:
        """Raise ReclassificationError for a selection that names something unknown."""
        unknown = set(self.classifiers) - {found.slug for found in _list_classifiers(())}
        if unknown:
            raise ReclassificationError(
                f"There is no classifier in use called {', '.join(sorted(unknown))}."
            )
        if self.scope == Scope.QUEUE:
            find_queue(self.target[0] if self.target else "")
        if self.scope == Scope.IMAGES:
            self._check_images()

    def _check_images(self) -> None:
        if not self.target:
            raise ReclassificationError("Choose at least one image.")
        if len(self.target) > IMAGES_MAX:
            raise ReclassificationError(
                f"Choose at most {IMAGES_MAX} images at a time. These are {len(self.target)}."
            )
        uuids = _parse_uuids(self.target)
        given = dict(Asset.objects.filter(uuid__in=uuids).values_list("uuid", "purged_at"))
        known = {uuid for uuid, purged_at in given.items() if purged_at is None}
        missing = [uuid for uuid in uuids if uuid not in known]
        if missing:
            state = "The files of image {} were removed." if missing[0] in given else NO_IMAGE
            raise ReclassificationError(state.format(missing[0]))


def find_queue(key: str) -> queues.Queue:
    """Return the queue with this key, of those that are the same for everybody.

    Raises ReclassificationError.
    """
    slug, _, query = key.partition("?")
    if slug not in QUEUES:
        raise ReclassificationError(
            f"There is no queue {slug!r} to run classifiers on. Choose one of: "
            + ", ".join(QUEUES)
            + "."
        )
    return queues.QUEUES[slug].narrowed(dict(parse_qsl(query[:500])))


def _parse_uuids(texts: Iterable[str]) -> list[UUID]:
    found = []
    for text in texts:
        try:
            found.append(UUID(text))
        except ValueError:
            raise ReclassificationError(
                f"{text[:60]!r} is not the identifier of an image."
            ) from None
    return found


def _list_classifiers(slugs: Sequence[str]) -> list[Classifier]:
    """Return the classifiers in use, or those of them with these slugs."""
    # Known images are looked up whenever a review is settled.
    found = [one for one in classifiers.active() if one.slug != KNOWN_IMAGES]
    return [one for one in found if not slugs or one.slug in slugs]


# --- Selection ---
def _read_images(selection: Selection, *, after: int, until: int, limit: int) -> dict[int, Asset]:
    """Return up to ``limit`` candidates of a selection after a primary key, by that key."""
    if selection.reads_reviews:
        reviews = _select_reviews(selection).filter(pk__gt=after, pk__lte=until)
        rows = reviews.order_by("pk").select_related("asset__request")[:limit]
        return {row.pk: row.asset for row in rows}
    assets = _select_assets(selection).filter(pk__gt=after, pk__lte=until)
    return {row.pk: row for row in assets.order_by("pk").select_related("request")[:limit]}


def _select_reviews(selection: Selection) -> Any:
    if selection.scope == Scope.WAITING:
        return resettlement.list_undecided()
    queue = find_queue(selection.target[0])
    stored = Review.objects.filter(asset__purged_at__isnull=True)
    return queue.filters.apply(queue.select(stored, 0, timezone.now()))


def _select_assets(selection: Selection) -> Any:
    if selection.scope == Scope.IMAGES:
        return Asset.objects.with_files().filter(uuid__in=_parse_uuids(selection.target))
    wanted = Q(pk__in=())
    for one in _list_classifiers(selection.classifiers):
        runs = Classification.objects.filter(
            asset=OuterRef("pk"), classifier=one.slug, version=one.version
        )
        failed = runs.filter(status=RunStatus.FAILED)
        wanted |= Q(Exists(failed)) if selection.scope == Scope.FAILED else ~Q(Exists(runs))
    return Asset.objects.with_files().filter(wanted)


def _find_needed(selection: Selection, images: Iterable[Asset]) -> dict[int, list[str]]:
    """Return the classifiers to run on each image, without images that need none, by asset."""
    chosen, assets = _list_classifiers(selection.classifiers), list(images)
    rows = Classification.objects.filter(asset__in=[asset.pk for asset in assets])
    statuses = {
        (asset, slug, version): status
        for asset, slug, version, status in rows.values_list(
            "asset", "classifier", "version", "status"
        )
    }
    needed: dict[int, list[str]] = {}
    for asset in assets:
        for one in chosen:
            status = statuses.get((asset.pk, one.slug, one.version))
            if _is_needed(selection, status) and one.applies_to(asset):
                needed.setdefault(asset.pk, []).append(one.slug)
    return needed


def _is_needed(selection: Selection, status: str | None) -> bool:
    """Return whether a run with this status must be repeated. None: there is no run."""
    match selection.scope:
        case Scope.IMAGES:
            return status != RunStatus.QUEUED
        case Scope.QUEUE:
            is_named = bool(selection.classifiers)
            return status in (None, RunStatus.FAILED) or (status == RunStatus.SKIPPED and is_named)
        case Scope.FAILED:
            return status == RunStatus.FAILED
        case Scope.UNSEEN:
            return status is None
    return False


# --- Estimate ---
@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The runs of one classifier in an estimate."""

    label: str
    runs: int
    price: costs.Price

    @property
    def usd(self) -> Decimal:
        return self.runs * self.price.usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Number of images and cost of an order."""

    images: int
    lines: tuple[Line, ...]
    is_scaled: bool  # from the first ESTIMATED images

    @property
    def usd(self) -> Decimal:
        return sum((line.usd for line in self.lines), Decimal(0))

    def count_minutes(self, per_minute: int) -> int:
        """Return the minutes until the last image is scheduled, rounded up."""
        return -(-self.images // per_minute)


def estimate(selection: Selection) -> Estimate:
    """Count the images and runs of a selection. Raises ReclassificationError."""
    selection.check()
    runs: Counter[str] = Counter()
    images = read = cursor = 0
    until = _find_last(selection)
    while read < ESTIMATED:
        found = _read_images(selection, after=cursor, until=until, limit=READ_AT_ONCE)
        if not found:
            break
        needed = _find_needed(selection, found.values())
        images += len(needed)
        runs.update(slug for slugs in needed.values() for slug in slugs)
        read, cursor = read + len(found), max(found)
    total = _count(selection, until) if read >= ESTIMATED else read
    scale = Decimal(total) / read if read else Decimal(1)
    return Estimate(
        images=round(images * scale),
        lines=tuple(
            Line(
                label=classifiers.label(slug),
                runs=round(count * scale),
                price=costs.find_price(slug),
            )
            for slug, count in sorted(runs.items())
        ),
        is_scaled=total > read,
    )


def _count(selection: Selection, until: int) -> int:
    rows = _select_reviews(selection) if selection.reads_reviews else _select_assets(selection)
    return int(rows.filter(pk__lte=until).count())


def _find_last(selection: Selection) -> int:
    rows: Any = Review.objects if selection.reads_reviews else Asset.objects
    return rows.aggregate(last=Max("pk"))["last"] or 0


# --- Orders ---
def order(
    *,
    selection: Selection,
    per_minute: int,
    user: User | None,
    expected: int,
    uuid: UUID | None = None,
) -> Reclassification:
    """Store an order, which a job carries out. Raises ReclassificationError.

    ``uuid`` stores an order once, however often it is given.
    """
    selection.check()
    if not 1 <= per_minute <= PER_MINUTE_MAX:
        raise ReclassificationError(f"The rate must be 1 to {PER_MINUTE_MAX} images per minute.")
    made, _ = Reclassification.objects.get_or_create(
        uuid=uuid or uuid4(),
        defaults={
            "scope": selection.scope,
            "target": list(selection.target),
            "classifiers": list(selection.classifiers),
            "per_minute": per_minute,
            "ordered_by": user,
            "until": _find_last(selection),
            "expected": expected,
            "due_at": timezone.now(),
        },
    )
    jobs.wake("reclassify")
    return made


def order_resettlement(*, user: User | None) -> None:
    """Apply the policy in force to all waiting images again.

    Replaces an order of an earlier policy that is still running.
    """
    rows = Reclassification.objects.filter(scope=Scope.WAITING, status=Status.RUNNING)
    for earlier in rows:
        with suppress(InvalidTransitionError):  # it has ended at this moment
            cancel(earlier)
    if not resettlement.list_undecided().exists():
        return
    waiting = Selection(scope=Scope.WAITING)
    order(selection=waiting, per_minute=PER_MINUTE_MAX, user=user, expected=0)


def cancel(given: Reclassification) -> None:
    """End an order. Runs that are already scheduled still take place.

    Raises InvalidTransitionError if it has ended.
    """
    given.move_to(Status.CANCELLED, due_at=None, finished_at=timezone.now(), note="")


# --- The job ---
def run_due(*, go_on: Callable[[], bool]) -> None:
    """Schedule the next images of the orders that are due."""
    while go_on():
        claimed = Reclassification.objects.claim(limit=1, lease=LEASE)
        if not claimed:
            return
        with transaction.atomic():
            _take_step(claimed[0].pk, claimed[0].lease)


def _take_step(pk: int, lease: UUID | None) -> None:
    """Schedule the next images of a claimed order, and set the time of its next step."""
    rows = Reclassification.objects.filter(pk=pk, lease=lease, status=Status.RUNNING)
    given = rows.select_for_update().first()
    if given is None:
        return
    selection = Selection.of(given)
    found = _read_images(selection, after=given.cursor, until=given.until, limit=READ_AT_ONCE)
    if not found:
        _finish(given)
    elif selection.scope == Scope.WAITING:
        _schedule_resettlements(found)
        rows.update(cursor=max(found), images=F("images") + len(found), due_at=timezone.now())
    else:
        rows.update(**_schedule(given, selection, found))


def _schedule_resettlements(reviews: Iterable[int]) -> None:
    now = timezone.now()
    rows = [Resettlement(review_id=pk, due_at=now) for pk in reviews]
    Resettlement.objects.bulk_create(rows, ignore_conflicts=True)
    jobs.wake("resettle")


def _schedule(
    given: Reclassification, selection: Selection, found: dict[int, Asset]
) -> dict[str, Any]:
    """Schedule as many of the candidates as rate and budget permit; return the order's changes."""
    count = min(max(given.per_minute // STEPS_PER_MINUTE, 1), STEP_MAX)
    queued = _count_queued(given)
    if max(queued.values(), default=0) >= STEPS_AHEAD * count:
        return {"due_at": timezone.now() + PAUSE, "note": BACKLOG}
    budget = _Budget(_count_all_queued())
    needed = _find_needed(selection, found.values())
    images, cursor = 0, given.cursor
    for key, asset in found.items():
        slugs = needed.get(asset.pk, [])
        if slugs and (images == count or not budget.take(slugs)):
            break
        if slugs:
            _schedule_image(given, asset, slugs)
            images += 1
        cursor = key
    if budget.refusal and not images:
        return {
            "cursor": cursor,
            "due_at": spending.start_of_next_day(),
            "note": budget.refusal,
        }
    return {
        "cursor": cursor,
        "images": F("images") + images,
        "due_at": timezone.now() + timedelta(minutes=1) * images / given.per_minute,
        "note": "",
    }


def _count_queued(given: Reclassification) -> Counter[str]:
    """Count the queued runs of an order by classifier."""
    queued = given.runs.filter(status=RunStatus.QUEUED)
    return Counter(dict(queued.values_list("classifier").annotate(n=Count("pk")).order_by()))


def _count_all_queued() -> Counter[str]:
    """Count all runs that will be asked, of new images and other orders too, by classifier."""
    queued = Classification.objects.filter(due_at__isnull=False, status=RunStatus.QUEUED)
    return Counter(dict(queued.values_list("classifier").annotate(n=Count("pk")).order_by()))


class _Budget:
    """The money that may still be spent today."""

    def __init__(self, queued: Counter[str]) -> None:
        self.refusal = ""  # why the last image was refused
        self._prices: dict[str, Decimal] = {}
        # The cost of queued runs is not part of the day's sum yet.
        self._planned = sum((n * self._price(slug) for slug, n in queued.items()), Decimal(0))
        self._left = self._find_left()

    def take(self, slugs: Sequence[str]) -> bool:
        """Plan the runs of one image; return False, and set ``refusal``, if the limit forbids."""
        cost = sum((self._price(slug) for slug in slugs), Decimal(0))
        if self._left is not None and cost and self._planned + cost > self._left:
            reason = spending.explain_refusal(self._planned + cost)
            self.refusal = reason or "The spending limit per day is reached."
            return False
        self._planned += cost
        return True

    def _price(self, slug: str) -> Decimal:
        if slug not in self._prices:
            self._prices[slug] = costs.find_price(slug).usd
        return self._prices[slug]

    def _find_left(self) -> Decimal | None:
        limit: Decimal | None = settings.SPENDING_LIMIT_PER_DAY
        return None if limit is None else limit - spending.sum_spending(spending.start_of_day())


def _finish(given: Reclassification) -> None:
    """Finish an order once its runs have ended."""
    if given.runs.filter(status=RunStatus.QUEUED).exists():
        Reclassification.objects.filter(pk=given.pk).update(
            due_at=timezone.now() + PAUSE, note="All images are scheduled."
        )
        return
    given.move_to(Status.FINISHED, due_at=None, finished_at=timezone.now(), note="")


def _schedule_image(given: Reclassification, asset: Asset, slugs: Sequence[str]) -> None:
    """Queue the current version of these classifiers on an image."""
    now, remote = timezone.now(), classifiers.remote()
    for slug in slugs:
        run, is_new = Classification.objects.get_or_create(
            asset=asset,
            classifier=slug,
            version=classifiers.get(slug).version,
            defaults={"due_at": now, "reclassification": given},
        )
        if not is_new and run.status != RunStatus.QUEUED:
            _queue_again(run, given)
        jobs.wake("classify_remote" if slug in remote else "classify")


def _queue_again(run: Classification, given: Reclassification) -> None:
    """Queue an ended run again. Its result moves into the raw result, so no evidence is lost."""
    raw = run.raw if isinstance(run.raw, dict) else {"raw": run.raw}
    result = {
        "status": run.status,
        "finished_at": run.finished_at.isoformat() if run.finished_at else None,
        "flagged": run.flagged,
        "score": None if run.score is None else str(run.score),
        "covers": run.covers,
        "error": run.error,
        "labels": [
            [label.category, None if label.confidence is None else str(label.confidence), label.box]
            for label in run.labels.order_by("pk")
        ],
        "raw": {key: value for key, value in raw.items() if key != EARLIER},
    }
    run.move_to(
        RunStatus.QUEUED,
        due_at=timezone.now(),
        lease=None,
        attempts=0,
        finished_at=None,
        flagged=None,
        score=None,
        covers={},
        error="",
        skipped_by=None,
        raw={EARLIER: [*raw.get(EARLIER, []), result]},
        reclassification=given,
    )
    Label.objects.filter(classification=run).delete()


# --- Progress ---
def count_runs(orders: Iterable[Reclassification]) -> dict[int, Counter[str]]:
    """Count the runs of orders by status, by order. A run counts for its last order only."""
    found: dict[int, Counter[str]] = {given.pk: Counter() for given in orders}
    rows = Classification.objects.filter(reclassification__in=list(found))
    counts = rows.values_list("reclassification", "status").annotate(n=Count("pk")).order_by()
    for pk, status, n in counts:
        found[pk][status] = n
    return found
