"""Import of Scenario's assets: page by page, resumable, one process at a time, no duplicates.

The ``ImportRun`` row holds the state. Its cursor moves only after a whole page is stored. After a
crash at most one page is repeated, and assets already stored are recognised by their external ID.
``stored`` is counted in the transaction that stores the asset, the other counters with the page, so
the counters stay correct after a crash.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from generation import fetching, imaging
from generation.core.storage import StorageUnavailableError
from generation.models import Asset, ImportRun, Source
from generation.providers.base import ProviderBusyError, ProviderError
from generation.providers.scenario import AssetPage, Scenario, ScenarioAsset
from generation.services import health, storage_checks
from generation.services.storing import AlreadyStoredError, Origin, store_rendition
from generation.wire.parsing import parse_integer

log = logging.getLogger("loupe.importing")
SOURCE = "scenario"
Status = ImportRun.Status

# Longer than one chunk of downloads with retries. If it is too short, a page is only repeated.
LEASE = timedelta(minutes=2)
PAGE_SIZE = 50
AT_ONCE = 4  # parallel downloads
TRIES = 3  # per image
FETCH_DEADLINE = 20.0  # seconds
# Seconds after which an image is not retried; a worker's queue message is limited to 90 seconds.
PATIENCE = 25.0
PAUSE = 0.5  # seconds before the second try
BUSY_PAUSE = timedelta(seconds=30)
NOTES_MAX = 200  # refused assets that are listed in the report
SEED_MAX = 2**63 - 1

NOT_READY = "Scenario has not finished this asset"
NO_ENTRY = "an entry without a usable id"


class ImportLockedError(Exception):
    """Another process holds the lease of this import."""


class LeaseLostError(Exception):
    """Another process has taken over the run."""


class AssetRefusedError(Exception):
    """An asset that is not stored; ``str(error)`` gives the reason without the URL."""


@dataclass(slots=True)
class Report:
    """Counters and refused assets of one import call."""

    seen: int = 0
    # Keys: stored, known, refused, skipped (no image), earlier (stored by this run before it was
    # interrupted).
    counts: Counter[str] = field(default_factory=Counter)
    # (external ID, reason); at most NOTES_KEPT
    refused: list[tuple[str, str]] = field(default_factory=list)
    pages: int = 0
    finished: bool = False

    def add(self, more: Report) -> None:
        """Add the counters of another report."""
        self.seen += more.seen
        self.counts.update(more.counts)
        self.refused.extend(more.refused[: NOTES_MAX - len(self.refused)])

    def note(self, outcome: str, asset_id: str = "", reason: str = "") -> None:
        """Count one asset by its outcome; list it if it was refused."""
        self.seen += 1
        self.counts[outcome] += 1
        if outcome == "refused" and len(self.refused) < NOTES_MAX:
            self.refused.append((asset_id, reason))


Watch = Callable[[Report], None]


def make_client() -> Scenario:
    """Return a client for Scenario.

    Raises LookupError with a message when Scenario is not configured.
    """
    if settings.SCENARIO is None:
        raise LookupError(
            "Scenario is not configured: set SCENARIO_API_KEY and SCENARIO_API_SECRET."
        )
    return Scenario(**settings.SCENARIO)


# --- The run ---
def claim_run(*, project: str = "", restart: bool = False) -> ImportRun:
    """Start a run, or resume an unfinished one, and take its lease.

    ``restart`` ends an unfinished run first. Raises ImportLockedError.
    """
    now = timezone.now()
    running = ImportRun.objects.filter(source=SOURCE, scope=project, status=Status.RUNNING)
    if restart:
        free = running.filter(Q(leased_until=None) | Q(leased_until__lte=now))
        free.update(
            status=Status.FAILED,
            finished_at=now,
            leased_until=None,
            error="Stopped to start over.",
        )
    left = running.first()
    until = now + LEASE
    if left is None:
        try:
            with transaction.atomic():
                return ImportRun.objects.create(
                    source=SOURCE, scope=project, started_at=now, leased_until=until
                )
        except IntegrityError:
            raise ImportLockedError("Another import has just begun.") from None
    if left.leased_until is not None and left.leased_until > now:
        raise ImportLockedError(
            f"Another import is running. Its lease ends at {left.leased_until:%H:%M:%S} UTC."
        )
    if not _claimed(left).update(leased_until=until):
        raise ImportLockedError("Another import has just begun.")
    left.leased_until = until
    return left


def _claimed(run: ImportRun) -> QuerySet[ImportRun]:
    """Return a queryset of the run, empty if another process has taken it over."""
    return ImportRun.objects.filter(pk=run.pk, status=Status.RUNNING, leased_until=run.leased_until)


def _renew_lease(run: ImportRun, **fields: Any) -> None:
    """Extend the lease and write the fields.

    Raises LeaseLostError.
    """
    until = timezone.now() + LEASE
    if not _claimed(run).update(leased_until=until, **fields):
        raise LeaseLostError("Another process has taken this import over.")
    run.leased_until = until


def run_import(
    *,
    run: ImportRun,
    provider: Scenario,
    report: Report | None = None,
    limit: int | None = None,
    go_on: Callable[[], bool] = lambda: True,
    watch: Watch = lambda report: None,
) -> Report:
    """Import until the listing ends, ``limit`` images are stored, or ``go_on`` returns False.

    Adds to ``report`` if one is given. Raises LeaseLostError, and ProviderError,
    StorageUnavailableError or DecoderUnavailableError after recording them on the run. A busy
    provider and a fault of this host leave the run resumable. Any other error ends the run,
    because its cursor may be the cause.
    """
    job = _Job(run, provider, limit, go_on, watch, report or Report())
    try:
        while not job.report.finished and job.goes_on:
            _import_page(job)
    except ProviderBusyError as busy:
        health.record_failure(SOURCE, str(busy))
        _claimed(run).update(error=str(busy), leased_until=timezone.now() + busy_delay(busy))
        raise
    except (StorageUnavailableError, imaging.DecoderUnavailableError) as error:
        if isinstance(error, StorageUnavailableError):
            storage_checks.record_failure(error)
        _claimed(run).update(
            error=str(error), leased_until=timezone.now() + storage_checks.RETRY_AFTER
        )
        raise
    except ProviderError as error:
        health.record_failure(SOURCE, str(error))
        _claimed(run).update(
            error=str(error), status=Status.FAILED, finished_at=timezone.now(), leased_until=None
        )
        raise
    finally:
        _release_lease(run)
    return job.report


def busy_delay(busy: ProviderBusyError) -> timedelta:
    """Return the time to wait before a busy provider is called again."""
    return max(BUSY_PAUSE, timedelta(seconds=busy.retry_after or 0))


def _release_lease(run: ImportRun) -> None:
    """Release the lease.

    Does nothing if another process holds the run or if the run waits for a provider.
    """
    ImportRun.objects.filter(pk=run.pk, leased_until=run.leased_until).update(leased_until=None)


@dataclass(slots=True)
class _Job:
    run: ImportRun
    provider: Scenario
    limit: int | None
    go_on: Callable[[], bool]
    watch: Watch
    report: Report

    @property
    def room(self) -> int:
        """Return the number of images to take next."""
        return (
            AT_ONCE
            if self.limit is None
            else min(AT_ONCE, self.limit - self.report.counts["stored"])
        )

    @property
    def goes_on(self) -> bool:
        """Return whether the limit and the time budget allow another chunk."""
        return self.room > 0 and self.go_on()


def _import_page(job: _Job) -> None:
    """Store the page at the cursor; move the cursor when the whole page is done."""
    run, provider = job.run, job.provider
    _renew_lease(run)
    run.refresh_from_db(fields=["cursor"])
    page = provider.list_assets(run.cursor, page_size=PAGE_SIZE, project=run.scope)
    if page.next_token and page.next_token == run.cursor:
        raise ProviderError(
            f"{provider.label} names the page that it has just given as the next one, too."
        )
    here = Report()
    wanted = list(_select_new_assets(run, page, here))
    job.report.add(here)
    job.watch(job.report)
    while wanted:
        if not job.goes_on:
            return
        _renew_lease(run)
        chunk, wanted = wanted[: job.room], wanted[job.room :]
        done = _import_assets(run, provider, chunk)
        here.add(done)
        job.report.add(done)
        job.watch(job.report)
    _finish_page(run, page, here)
    health.record_success(SOURCE)
    job.report.pages += 1
    job.report.finished = not page.next_token


def _select_new_assets(run: ImportRun, page: AssetPage, report: Report) -> Iterator[ScenarioAsset]:
    """Yield the assets to store and count the others.

    Assets that this run stored before an interruption count as "earlier", not as "known".
    """
    for _ in range(page.unreadable):
        report.note("refused", "", NO_ENTRY)
    rows = Asset.objects.filter(
        source=Source.SCENARIO, external_id__in=[asset.id for asset in page.items]
    )
    stored = dict(rows.values_list("external_id", "created_at"))
    for asset in {asset.id: asset for asset in page.items}.values():
        if asset.id in stored:
            report.note("known" if stored[asset.id] < run.started_at else "earlier")
        elif not asset.is_image:
            report.note("skipped")
        elif not asset.is_ready:
            report.note("refused", asset.id, NOT_READY)
        else:
            yield asset


def _finish_page(run: ImportRun, page: AssetPage, here: Report) -> None:
    """Move the cursor and add the page's counters to the run."""
    fields: dict[str, Any] = {
        "cursor": page.next_token,
        "pages": F("pages") + 1,
        "known": F("known") + here.counts["known"],
        "refused": F("refused") + here.counts["refused"],
        "error": "",
    }
    if not page.next_token:
        fields |= {"status": Status.FINISHED, "finished_at": timezone.now()}
    _renew_lease(run, **fields)


# --- One image ---
def _import_assets(run: ImportRun, provider: Scenario, assets: list[ScenarioAsset]) -> Report:
    """Download the assets in parallel, because their URLs expire; store them one by one."""
    report = Report()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        outcomes = list(
            threads.map(lambda asset: _download_asset(provider, asset, run.scope), assets)
        )
    for asset, outcome in zip(assets, outcomes, strict=True):
        if isinstance(outcome, AssetRefusedError):
            report.note("refused", asset.id, str(outcome))
        else:
            report.note(_store_asset(run, asset, outcome))
    return report


def _download_asset(
    provider: Scenario, asset: ScenarioAsset, project: str
) -> imaging.Rendition | AssetRefusedError:
    """Download one asset; renew an expired URL once.

    Uses no database. Raises DecoderUnavailableError.
    """
    url, renewed = asset.url, False
    ends = time.monotonic() + PATIENCE
    for attempt in range(1, TRIES + 1):
        try:
            if not url:
                return AssetRefusedError("Scenario gives no URL for it.")
            fetched = fetching.fetch(url, allow=settings.FETCH_ALLOW, deadline=FETCH_DEADLINE)
            return imaging.render(fetched.content)
        except fetching.FetchError as error:
            if error.expired and not renewed:
                try:
                    url, renewed = provider.get_asset(asset.id, project=project).url, True
                except ProviderError as refusal:
                    return AssetRefusedError(str(refusal))
                continue
            again, message = error.retryable, str(error)
        except (fetching.BlockedAddressError, imaging.UnreadableImageError) as error:
            again, message = getattr(error, "retryable", False), str(error)
        except imaging.DecoderUnavailableError:
            if attempt == TRIES or time.monotonic() > ends:
                raise  # a refusal is permanent, and the image did not cause this error
            again, message = True, ""
        if not again or attempt == TRIES or time.monotonic() > ends:
            return AssetRefusedError(message)
        time.sleep(PAUSE * attempt)
    return AssetRefusedError("Its URL expires faster than it can be read.")


def _store_asset(run: ImportRun, asset: ScenarioAsset, rendition: imaging.Rendition) -> str:
    """Store the asset and count it in one transaction, under the lease."""
    with transaction.atomic():
        try:
            store_rendition(rendition=rendition, origin=_make_origin(asset, run.scope))
        except AlreadyStoredError:
            return "earlier"
        if not _claimed(run).update(stored=F("stored") + 1):
            raise LeaseLostError("Another process has taken this import over.")
    return "stored"


def _make_origin(asset: ScenarioAsset, project: str) -> Origin:
    detection: dict[str, Any] = {} if asset.nsfw is None else {"nsfw": list(asset.nsfw)}
    if project:
        detection["project"] = project
    notes = {**asset.provenance, "createdAt": asset.created_at, "ownerId": asset.project}
    if asset.description:
        notes["description"] = asset.description
    return Origin(
        source=Source.SCENARIO,
        external_id=asset.id,
        original_name=str(asset.provenance.get("name", ""))[:255],
        provider_url=asset.url.partition("?")[0],
        detection=detection,
        seed=_parse_seed(asset),
        metadata={"scenario": {name: value for name, value in notes.items() if value != ""}},
    )


def _parse_seed(asset: ScenarioAsset) -> int | None:
    """Parse the seed, a string in Scenario's JSON; None if it does not fit the column."""
    text = str(asset.provenance.get("seed", ""))
    return parse_integer(text, high=SEED_MAX)


# --- Scheduled import ---
def is_scheduled() -> bool:
    """Return whether scheduled imports are on.

    Only with a real key: sandbox assets are imported on request.
    """
    return bool(settings.SCENARIO_IMPORT_MINUTES and settings.SCENARIO_API_KEY)


def is_due() -> bool:
    """Return whether a run is unfinished or the last one ended SCENARIO_IMPORT_MINUTES ago."""
    if not is_scheduled():
        return False
    now = timezone.now()
    last = ImportRun.objects.filter(source=SOURCE, scope="").order_by("-started_at").first()
    if last is None:
        return True
    if last.status == Status.RUNNING:
        return last.leased_until is None or last.leased_until <= now
    return last.finished_at is None or last.finished_at <= now - timedelta(
        minutes=settings.SCENARIO_IMPORT_MINUTES
    )


def run_scheduled_import(*, go_on: Callable[[], bool]) -> None:
    """Run the scheduled import once. Errors are stored on the run and logged."""
    try:
        run_import(run=claim_run(), provider=make_client(), go_on=go_on)
    except (ImportLockedError, LeaseLostError) as other:
        log.info("%s", other)
    except (ProviderError, StorageUnavailableError, imaging.DecoderUnavailableError) as error:
        log.warning("importing from Scenario: %s", error)
