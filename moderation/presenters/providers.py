"""Context of the page Providers: health, costs and key check of each external service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import Max, QuerySet
from django.utils import timezone

from generation import providers as registry
from generation.models import Asset, GenerationRequest, ImportRun, ProviderState, Source
from generation.providers.chat import ChatCompletions
from generation.providers.hma import Hma
from generation.providers.nanogpt import NanoGpt
from generation.providers.openai import OpenAI
from generation.providers.rekognition import Rekognition
from generation.providers.scenario import Scenario
from generation.services import rates, spending
from moderation.models import Classification
from moderation.services import costs

# Older classifications do not show the current health, and the newest of one classifier have no
# index.
LOOK_BACK = 10_000
REMOTE_CLASSIFIERS = ("nanogpt", "vlm", "rekognition", "openai", "hma")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """An external service that Loupe calls with its own key."""

    slug: str
    label: str
    purpose: str
    base_url: str = ""  # empty: off
    wanted: str = ""  # the setting that enables it

    @property
    def is_sandbox(self) -> bool:
        return urlsplit(self.base_url).path.startswith("/sandbox/")

    @property
    def state(self) -> str:
        if not self.base_url:
            return "off"
        if self.slug in REMOTE_CLASSIFIERS and self.slug not in settings.CLASSIFIERS:
            return "unused"
        return "sandbox" if self.is_sandbox else "configured"

    @property
    def advice(self) -> str:
        """Return what turns a service on that is not in use."""
        if self.state == "unused":
            return f"Add {self.slug} to CLASSIFIERS to use it."
        return f"Set {self.wanted} to turn it on."

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).netloc.rpartition("@")[2]


@dataclass(slots=True, kw_only=True)
class ServiceHealth:
    """The use, last success and last error of a service, for the pages Today and Providers."""

    service: Service

    last_success_at: datetime | None = None
    last_error_at: datetime | None = None
    last_error: str = ""

    @property
    def is_in_use(self) -> bool:
        """Return whether the service is on, and its classifier active or called before."""
        state = self.service.state
        was_called = self.last_success_at is not None or self.last_error_at is not None
        return state != "off" and (state != "unused" or was_called)

    @property
    def is_failing(self) -> bool:
        """Return whether the last call failed."""
        error, success = self.last_error_at, self.last_success_at
        return error is not None and (success is None or success < error)

    def note_success(self, timestamp: datetime | None) -> None:
        """Set the last success if it is newer."""
        if timestamp and (self.last_success_at is None or timestamp > self.last_success_at):
            self.last_success_at = timestamp

    def note_error(self, timestamp: datetime | None, message: str) -> None:
        """Set the last error if it is newer."""
        if timestamp and (self.last_error_at is None or timestamp > self.last_error_at):
            self.last_error_at, self.last_error = timestamp, message


@dataclass(slots=True, kw_only=True)
class Report:
    """The state of one service on the page."""

    service: Service
    health: ServiceHealth
    held_until: datetime | None = None
    per_minute: int = 0
    tokens: Decimal | None = None
    # Status, label, number of requests.
    counts: list[tuple[str, str, int]] = field(default_factory=list)
    # Period, images, USD billed.
    spent: list[tuple[str, int, Decimal | None]] = field(default_factory=list)


def list_services() -> Iterator[Service]:
    for slug, entry in settings.IMAGE_PROVIDERS.items():
        options = entry["OPTIONS"]
        yield Service(
            slug=slug,
            label=options["label"],
            purpose="generates images",
            base_url=options["base_url"],
        )
    if not settings.IMAGE_PROVIDERS:
        yield Service(
            slug="novita", label="Novita", purpose="generates images", wanted="NOVITA_API_KEY"
        )
    for slug, options, label, wanted in (
        ("nanogpt", settings.NANOGPT, "nano-gpt", "NANOGPT_API_KEY"),
        ("vlm", settings.VLM, "Vision model", "VLM_MODEL"),
        (
            "rekognition",
            settings.REKOGNITION,
            "Rekognition",
            "AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and name rekognition in"
            " CLASSIFIERS,",
        ),
        (
            "openai",
            settings.OPENAI,
            "OpenAI moderation",
            "OPENAI_API_KEY, and name openai in CLASSIFIERS,",
        ),
        ("hma", settings.HMA, "Hasher-Matcher-Actioner", "HMA_BASE_URL"),
    ):
        known = options or {}
        yield Service(
            slug=slug,
            label=known.get("label", label),
            purpose="classifies images",
            base_url=known.get("base_url", ""),
            wanted=wanted,
        )
    scenario = settings.SCENARIO or {}
    yield Service(
        slug="scenario",
        label=scenario.get("label", "Scenario"),
        purpose="assets are imported from it",
        base_url=scenario.get("base_url", ""),
        wanted="SCENARIO_API_KEY and SCENARIO_API_SECRET",
    )


def make_harmless_call(slug: str) -> None:
    """Make an API call that costs nothing. Raises ProviderError.

    A function, not a method of Service: templates call methods when they print them.
    """
    if slug in settings.IMAGE_PROVIDERS:
        registry.get_provider(slug).list_models(limit=1)
    elif slug == "nanogpt" and settings.NANOGPT:
        NanoGpt(**settings.NANOGPT).check()
    elif slug == "vlm" and settings.VLM:
        ChatCompletions(**settings.VLM).check()
    elif slug == "rekognition" and settings.REKOGNITION:
        Rekognition(**settings.REKOGNITION).check()
    elif slug == "openai" and settings.OPENAI:
        OpenAI(**settings.OPENAI).check()
    elif slug == "hma" and settings.HMA:
        Hma(**settings.HMA).check()
    elif slug == "scenario" and settings.SCENARIO:
        Scenario(**settings.SCENARIO).check()


def load_health() -> list[tuple[Service, ServiceHealth]]:
    """Return every service with its health, from recorded calls and from its rows."""
    services = list(list_services())
    health = {service.slug: ServiceHealth(service=service) for service in services}
    for state in ProviderState.objects.filter(slug__in=health):
        health[state.slug].note_success(state.last_success_at)
        health[state.slug].note_error(state.last_error_at, state.last_error)
    _add_classification_health(health)
    _add_import_health(health["scenario"])
    return [(service, health[service.slug]) for service in services]


def _recent_classifications() -> QuerySet[Classification]:
    newest = Classification.objects.aggregate(pk=Max("pk"))["pk"] or 0
    return Classification.objects.filter(pk__gt=newest - LOOK_BACK)


def _add_classification_health(health: Mapping[str, ServiceHealth]) -> None:
    """Read the health of classifiers from their classifications, their only trace."""
    status = Classification.Status
    ended = _recent_classifications().filter(
        classifier__in=REMOTE_CLASSIFIERS, status__in=(status.DONE, status.FAILED)
    )
    last = ended.values("classifier", "status").annotate(last=Max("pk")).values("last")
    for run in Classification.objects.filter(pk__in=last):
        found = health[run.classifier]
        if run.status == status.DONE:
            found.note_success(run.finished_at)
        else:
            found.note_error(run.finished_at, run.error)


def _add_import_health(found: ServiceHealth) -> None:
    runs = ImportRun.objects.filter(source=Source.SCENARIO).order_by("-started_at")
    if finished := runs.filter(status=ImportRun.Status.FINISHED).first():
        found.note_success(finished.finished_at)
    if failed := runs.filter(status=ImportRun.Status.FAILED).first():
        found.note_error(failed.finished_at or failed.started_at, failed.error)


def build_report(service: Service, found: ServiceHealth) -> Report:
    """Build the report of one service."""
    report = Report(service=service, health=found)
    if service.slug in settings.IMAGE_PROVIDERS:
        _add_requests(report)
    elif service.slug in REMOTE_CLASSIFIERS:
        _add_classifications(report)
    elif service.slug == "scenario":
        _add_imports(report)
    return report


def _list_periods() -> list[tuple[str, datetime]]:
    return [("today", spending.start_of_day()), ("this month", spending.start_of_month())]


def _add_requests(report: Report) -> None:
    slug, now = report.service.slug, timezone.now()
    terms, bucket = registry.get_terms(slug), rates.read_bucket(slug)
    report.per_minute, report.held_until = terms.images_per_minute, bucket.held_until(now)
    if terms.images_per_minute:
        report.tokens = bucket.level(terms.images_per_minute, now)
    counts = spending.count_by_status(slug)
    report.counts = [(value, label, counts.get(value, 0)) for value, label in _shown_statuses()]
    report.spent = [
        (name, *spending.sum_images_and_cost(slug, since)) for name, since in _list_periods()
    ]


def _shown_statuses() -> list[tuple[str, str]]:
    statuses = [*GenerationRequest.OPEN, GenerationRequest.Status.UNKNOWN]
    return [(status.value, status.label) for status in statuses]


def _add_classifications(report: Report) -> None:
    slug = report.service.slug
    queued = _recent_classifications().filter(classifier=slug, status=Classification.Status.QUEUED)
    report.counts = [("classifying", "Waiting", queued.count())]
    report.spent = [
        (name, *costs.count_images_and_cost(slug, since)) for name, since in _list_periods()
    ]


def _add_imports(report: Report) -> None:
    runs = ImportRun.objects.filter(source=Source.SCENARIO, status=ImportRun.Status.RUNNING)
    report.counts = [("fetching", "Imports running", runs.count())]
    stored = Asset.objects.filter(source=Source.SCENARIO)
    report.spent = [
        (name, stored.filter(created_at__gte=since).count(), None)
        for name, since in _list_periods()
    ]
