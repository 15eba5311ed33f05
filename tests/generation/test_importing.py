"""The import of a list of assets, also with a kill at every step."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from generation import fetching, imaging, tasks
from generation.models import Asset, ImportRun, Source
from generation.providers.base import ProviderBusyError, ProviderError, ProviderMisconfiguredError
from generation.providers.scenario import AssetPage, ScenarioAsset
from generation.services import importing
from generation.services.importing import ImportLockedError, LeaseLostError, Report
from moderation.models import Review
from tests.conftest import picture

Status = ImportRun.Status


class Killed(BaseException):
    """A simulated kill of the process."""


class Listing:
    """A fake client of Scenario with pages of assets, which records its calls."""

    label = "Scenario"

    def __init__(self, *pages: list[str], error: dict[int, Exception] | None = None) -> None:
        self.pages, self.errors = pages, error or {}
        self.asked: list[str] = []
        self.looked_up: list[str] = []

    def list_assets(self, token: str = "", *, page_size: int = 50, project: str = "") -> AssetPage:
        self.asked.append(token)
        number = int(token or 0)
        if number in self.errors:
            raise self.errors.pop(number)
        following = str(number + 1) if number + 1 < len(self.pages) else ""
        return AssetPage(items=tuple(map(item, self.pages[number])), next_token=following)

    def get_asset(self, asset_id: str, *, project: str = "") -> ScenarioAsset:
        self.looked_up.append(asset_id)
        return item(asset_id, url=f"https://cdn.test/{asset_id}?Signature=new")


def item(asset_id: str, **fields: Any) -> ScenarioAsset:
    values: dict[str, Any] = {
        "url": f"https://cdn.test/{asset_id}?Signature=canary",
        "mime_type": "image/png",
        "kind": "image",
        "status": "success",
        "nsfw": (),
        "project": "proj_1",
        "created_at": "2026-09-01T08:00:00.000Z",
        "provenance": {
            "prompt": f"a picture of {asset_id}",
            "seed": "602245905551964461",
            "modelId": "model_1",
        },
    }
    return ScenarioAsset(id=asset_id, **{**values, **fields})


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """Replace download and decoder by fakes that return a different image for each URL."""
    ready: dict[str, imaging.Rendition] = {}

    def fetch(url: str, **options: Any) -> fetching.Fetched:
        return fetching.Fetched(url.partition("?")[0].encode(), "image/png", url.partition("?")[0])

    def render(content: bytes) -> imaging.Rendition:
        name = content.decode()
        if name not in ready:
            ready[name] = real(picture(sum(name.encode())))
        return ready[name]

    real = imaging.render
    settings.CLASSIFIERS = []
    monkeypatch.setattr(importing, "AT_ONCE", 1)
    monkeypatch.setattr(importing, "PAUSE", 0)
    monkeypatch.setattr(fetching, "fetch", fetch)
    monkeypatch.setattr(imaging, "render", render)


def run_import(listing: Any, **options: Any) -> Report:
    return importing.run_import(run=importing.claim_run(), provider=listing, **options)


def names() -> list[str]:
    return sorted(Asset.objects.values_list("external_id", flat=True))


quick = pytest.mark.usefixtures("db", "_quick")
PAGES = (["a", "b"], [], ["c", "d"])


# --- Imported assets ---
@quick
def test_import_reads_every_page_and_skips_empty_pages() -> None:
    listing = Listing(*PAGES)

    report = run_import(listing)

    run = ImportRun.objects.get()
    assert (report.finished, dict(report.counts)) == (True, {"stored": 4})
    assert (run.status, run.pages, run.stored, run.known, run.refused) == (
        Status.FINISHED,
        3,
        4,
        0,
        0,
    )
    assert (run.leased_until, run.error) == (None, "")
    assert run.finished_at is not None
    assert listing.asked == ["", "1", "2"]
    assert names() == ["a", "b", "c", "d"]


@quick
def test_imported_asset_keeps_provenance_and_labels_without_url_signature() -> None:
    run_import(Listing(["a"]))

    asset = Asset.objects.get()
    assert (asset.source, asset.external_id, asset.seed) == (
        Source.SCENARIO,
        "a",
        602245905551964461,
    )
    assert asset.detection == {"nsfw": []}
    assert asset.metadata["scenario"] == {
        "prompt": "a picture of a",
        "seed": "602245905551964461",
        "modelId": "model_1",
        "ownerId": "proj_1",
        "createdAt": "2026-09-01T08:00:00.000Z",
    }
    assert asset.provider_url == "https://cdn.test/a"
    assert "canary" not in str(vars(asset))


@quick
@pytest.mark.parametrize(
    ("nsfw", "project", "expected"),
    [
        (None, "", {}),
        ((), "", {"nsfw": []}),
        (("violence", "new_thing"), "", {"nsfw": ["violence", "new_thing"]}),
        (None, "proj_1", {"project": "proj_1"}),
    ],
)
def test_labels_are_stored_unchanged_and_absent_labels_stay_absent(
    nsfw: tuple[str, ...] | None,
    project: str,
    expected: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listing = Listing(["a"])
    monkeypatch.setattr(
        listing, "list_assets", lambda *a, **o: AssetPage(items=(item("a", nsfw=nsfw),))
    )

    importing.run_import(run=importing.claim_run(project=project), provider=listing)

    assert Asset.objects.get().detection == expected


@quick
@pytest.mark.parametrize(
    ("seed", "kept"), [("9223372036854775808", None), ("-1", None), ("x", None), ("0", 0)]
)
def test_seed_out_of_range_is_kept_in_the_metadata_only(
    seed: str, kept: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = Listing(["a"])
    asset = item("a", provenance={"seed": seed})
    monkeypatch.setattr(listing, "list_assets", lambda *a, **o: AssetPage(items=(asset,)))

    run_import(listing)

    assert Asset.objects.get().seed == kept
    assert Asset.objects.get().metadata["scenario"]["seed"] == seed


@quick
def test_repeated_import_neither_downloads_nor_stores_known_assets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_import(Listing(*PAGES))
    monkeypatch.setattr(fetching, "fetch", lambda *a, **o: pytest.fail("fetched again"))

    report = run_import(Listing(*PAGES))

    assert dict(report.counts) == {"known": 4}
    assert ImportRun.objects.latest("pk").known == 4
    assert len(names()) == 4


@quick
def test_asset_on_two_pages_is_stored_once() -> None:
    run_import(Listing(["a", "a"], ["a", "b"]))

    assert names() == ["a", "b"]
    assert ImportRun.objects.get().stored == 2


@quick
def test_videos_and_unready_assets_are_skipped_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listing = Listing(["a"])
    items = (
        item("v", mime_type="video/mp4", kind="video"),
        item("p", status="pending", url=""),
        item("a"),
    )
    monkeypatch.setattr(
        listing, "list_assets", lambda *a, **o: AssetPage(items=items, unreadable=2)
    )

    report = run_import(listing)

    assert dict(report.counts) == {"refused": 3, "skipped": 1, "stored": 1}
    assert report.refused == [("", importing.NO_ENTRY)] * 2 + [("p", importing.NOT_READY)]
    assert ImportRun.objects.get().refused == 3


# --- Failed downloads ---
def failing(*errors: Exception) -> Callable[..., fetching.Fetched]:
    left = list(errors)

    def fetch(url: str, **options: Any) -> fetching.Fetched:
        if left:
            raise left.pop(0)
        return fetching.Fetched(url.partition("?")[0].encode(), "image/png", "")

    return fetch


EXPIRED = fetching.FetchError("The URL has expired or forbids reading.", expired=True)
BROKEN_OFF = fetching.FetchError("The connection broke.", retryable=True)


@quick
@pytest.mark.parametrize(
    ("errors", "outcome", "looked_up"),
    [
        ([EXPIRED], "stored", ["a"]),
        ([EXPIRED, EXPIRED], "refused", ["a"]),
        ([BROKEN_OFF, BROKEN_OFF], "stored", []),
        ([BROKEN_OFF] * 3, "refused", []),
        ([fetching.BlockedAddressError("That address is private.")], "refused", []),
        ([imaging.UnreadableImageError("It is no image.", code="unsupported")], "refused", []),
        ([imaging.DecoderUnavailableError("The decoder is busy.")], "stored", []),
    ],
)
def test_failed_download_is_retried_if_the_error_is_temporary(
    errors: list[Exception], outcome: str, looked_up: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "fetch", failing(*errors))
    listing = Listing(["a", "b"])

    report = run_import(listing)

    assert report.counts == ({"stored": 2} if outcome == "stored" else {"stored": 1, "refused": 1})
    assert listing.looked_up == looked_up
    assert all(asset_id == "a" and reason.endswith(".") for asset_id, reason in report.refused)


# --- Interrupted and resumed imports ---
def counting(kill_at: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Raise Killed before or after the n-th side effect, and return the list of side effects."""
    done: list[str] = []

    def wrap(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def step(*args: Any, **kwargs: Any) -> Any:
            done.append(name)
            if len(done) == kill_at:
                raise Killed
            result = real(*args, **kwargs)
            done.append(name)
            if len(done) == kill_at:
                raise Killed
            return result

        monkeypatch.setattr(owner, name, step)

    wrap(Listing, "list_assets")
    wrap(fetching, "fetch")
    wrap(importing, "store_rendition")
    wrap(importing, "_store_asset")
    wrap(importing, "_finish_page")
    wrap(importing, "_renew_lease")
    monkeypatch.setattr(
        importing, "_release_lease", lambda run: None
    )  # a killed process releases no lease
    return done


@quick
@pytest.mark.django_db(transaction=True)
def test_import_resumes_without_duplicates_after_a_kill_at_any_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        done = counting(10_000, patch)
        run_import(Listing(*PAGES))
    steps = len(done)
    assert steps > 40
    for kill_at in range(1, steps + 1):
        _forget()
        with monkeypatch.context() as patch:
            counting(kill_at, patch)
            with pytest.raises(Killed):
                run_import(Listing(*PAGES))
        ImportRun.objects.update(leased_until=timezone.now() - timedelta(seconds=1))
        if not ImportRun.objects.filter(status=Status.RUNNING).exists():
            assert ImportRun.objects.get().status == Status.FINISHED
            continue

        listing = Listing(*PAGES)
        run_import(listing)

        run = ImportRun.objects.get()
        assert (run.status, run.stored, run.known, run.pages) == (Status.FINISHED, 4, 0, 3), kill_at
        assert names() == ["a", "b", "c", "d"], kill_at


def _forget() -> None:
    Review.objects.all().delete()
    Asset.objects.all().delete()
    ImportRun.objects.all().delete()


@quick
def test_second_parallel_import_is_refused() -> None:
    first = importing.claim_run()

    with pytest.raises(ImportLockedError, match="Another import is running"):
        importing.claim_run()
    with pytest.raises(ImportLockedError):
        importing.claim_run(restart=True)
    assert importing.claim_run(project="proj_2").pk != first.pk


@quick
def test_import_stores_nothing_after_it_lost_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    run = importing.claim_run()
    real = importing._import_assets

    def taken_over(*args: Any) -> Report:
        ImportRun.objects.update(leased_until=timezone.now() + timedelta(hours=1))
        return real(*args)

    monkeypatch.setattr(importing, "_import_assets", taken_over)

    with pytest.raises(LeaseLostError):
        importing.run_import(run=run, provider=Listing(["a", "b"]))
    assert names() == []


@quick
def test_limited_import_stops_within_a_page_and_the_next_one_continues() -> None:
    first = run_import(Listing(["a", "b", "c"], ["d"]), limit=2)
    second = run_import(Listing(["a", "b", "c"], ["d"]))

    assert (dict(first.counts), first.finished) == ({"stored": 2}, False)
    assert (dict(second.counts), second.finished) == ({"earlier": 2, "stored": 2}, True)
    assert (ImportRun.objects.get().stored, ImportRun.objects.get().known) == (4, 0)


@quick
def test_restarted_import_begins_at_the_first_page() -> None:
    run_import(Listing(["a"], ["b"]), limit=1)
    listing = Listing(["a"], ["b"])

    importing.run_import(run=importing.claim_run(restart=True), provider=listing)

    assert listing.asked == ["", "1"]
    assert [run.status for run in ImportRun.objects.order_by("pk")] == [
        Status.FAILED,
        Status.FINISHED,
    ]


@quick
def test_busy_scenario_keeps_the_import_run_resumable() -> None:
    busy = ProviderBusyError("Scenario is busy.", retry_after=90)
    before = timezone.now()
    with pytest.raises(ProviderBusyError):
        run_import(Listing(["a"], ["b"], error={1: busy}))

    run = ImportRun.objects.get()
    assert (run.status, run.cursor, run.stored, run.error) == (
        Status.RUNNING,
        "1",
        1,
        "Scenario is busy.",
    )
    assert run.leased_until is not None
    pause = timedelta(seconds=90)
    assert before + pause <= run.leased_until <= timezone.now() + pause
    ImportRun.objects.update(leased_until=timezone.now())
    run_import(Listing(["a"], ["b"]))
    assert ImportRun.objects.get().error == ""


@quick
def test_other_provider_error_fails_the_import_run_with_its_message() -> None:
    with pytest.raises(ProviderError):
        run_import(
            Listing(["a"], ["b"], error={1: ProviderMisconfiguredError("The key is wrong.")})
        )

    run = ImportRun.objects.get()
    assert (run.status, run.error, run.leased_until) == (Status.FAILED, "The key is wrong.", None)


@quick
def test_repeated_page_token_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    listing = Listing(["a"])
    monkeypatch.setattr(
        listing, "list_assets", lambda *a, **o: AssetPage(items=(), next_token="same")
    )

    with pytest.raises(ProviderError, match="names the page that it has just given"):
        run_import(listing)


# --- Scheduled imports ---
@quick
def test_scheduled_import_needs_an_api_key_and_an_interval(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = Listing(["a"], ["b"])
    monkeypatch.setattr(importing, "make_client", lambda: listing)
    assert not importing.is_due()
    settings.SCENARIO_IMPORT_MINUTES, settings.SCENARIO_API_KEY = 30, ""
    assert not importing.is_due()
    settings.SCENARIO_API_KEY = "key"
    assert importing.is_due()

    tasks.import_scenario()

    assert ImportRun.objects.get().status == Status.FINISHED
    assert not importing.is_due()
    ImportRun.objects.update(finished_at=timezone.now() - timedelta(minutes=31))
    assert importing.is_due()


@quick
def test_scheduled_import_waits_for_a_busy_scenario_and_resumes(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SCENARIO_IMPORT_MINUTES, settings.SCENARIO_API_KEY = 30, "key"
    monkeypatch.setattr(
        importing,
        "make_client",
        lambda: Listing(["a"], ["b"], error={1: ProviderBusyError("Busy.")}),
    )
    tasks.import_scenario()

    assert ImportRun.objects.get().status == Status.RUNNING
    assert not importing.is_due()
    ImportRun.objects.update(leased_until=timezone.now())
    assert importing.is_due()
