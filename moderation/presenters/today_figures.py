"""Figures at the top of Today: the first question of each role, answered by a number and a plot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models import Count, Q
from django.urls import reverse
from django.utils import timezone

from generation.models import ApiCall, ApiKey
from generation.services import spending
from moderation import queues
from moderation.models import Decision, Measure, NewFinding, PolicyActivation, Review
from moderation.presenters import insights
from moderation.presenters.charts import Chart, Sparkline, Tone
from moderation.presenters.charts.formats import format_minutes, format_number, format_share
from moderation.presenters.period_series import SPANS, PeriodSeries, Values, sum_known
from moderation.services.period_counts import floor_day

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# A person's own decisions of today, and own calls, that are read.
OWN_MAX = 2000


@dataclass(frozen=True, slots=True)
class Number:
    """A live number: the id of its element and its current text."""

    id: str
    text: str
    is_words: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """A figure that leads to its page. Polls replace the number; the plot stays."""

    name: str
    number: Number
    url: str
    more: str = ""
    plot: Chart | None = None
    status: str = ""  # for data-status, beyond a limit


class Plots:
    """The plots of the figures, read when the first one is needed; none for the poll."""

    def __init__(self, *, is_wanted: bool) -> None:
        self._is_wanted = is_wanted
        self._series: dict[str, PeriodSeries] = {}

    def read(self, span: str) -> PeriodSeries | None:
        """Return the counts of a span, or None for the poll."""
        if not self._is_wanted:
            return None
        if span not in self._series:
            measures = (Measure.QUEUE, Measure.AGE, Measure.CALLS, Measure.DECISIONS)
            more = (Measure.AUDITS, Measure.OPINIONS)
            self._series[span] = PeriodSeries(SPANS[span], measures=(*measures, *more))
        return self._series[span]


def build_stats(user: User, parts: Mapping[str, Any], *, with_plots: bool) -> list[Stat]:
    """Return the figures for the user's roles. ``parts`` is what the page shows already."""
    plots = Plots(is_wanted=with_plots)
    found: list[Stat] = []
    if "queues" in parts:
        found += _build_moderator(user, parts, plots)
    if "disagreements" in parts:
        found += _build_senior(parts, plots)
    if "policy" in parts:
        found += _build_lead(parts, plots)
    if "services" in parts:
        found += _build_operator(parts, plots)
    if "record_length" in parts:
        found.append(_build_record(parts))
        if "policy" not in parts:
            found += _build_auditor(plots)
    is_developer = user.has_perm("generation.hold_api_key")
    if is_developer and (not found or ApiKey.objects.filter(owner=user).exists()):
        found += _build_developer(user)
    return found


def _draw(
    name: str, title: str, values: Values, summary: str, tone: Tone = Tone.ACCENT
) -> Sparkline:
    return Sparkline(name=f"spark-{name}", title=title, summary=summary, values=values, tone=tone)


def _build_moderator(user: User, parts: Mapping[str, Any], plots: Plots) -> Iterator[Stat]:
    rows = {row.queue.slug: row for row in parts["queues"]}
    waiting = rows.get("waiting")
    series = plots.read("24h")
    if waiting is not None:
        plot = age_plot = None
        if series:
            depth = series.average(Measure.QUEUE, "pending")
            plot = _draw(
                "waiting",
                "Waiting images in 24 hours",
                depth,
                insights.summarize(depth, lambda value: format_number(round(value))),
            )
            age_plot = _draw_age(series)
        limit = settings.QUEUE_AGE_TARGET_MINUTES
        yield Stat(
            name="Waiting for a moderator",
            number=Number("n-f-waiting", waiting.count.text),
            url=reverse("moderation:queue-detail", args=["waiting"]),
            more="now; the plot shows 24 hours",
            plot=plot,
        )
        yield Stat(
            name="Oldest image",
            number=Number("n-f-oldest", waiting.oldest.text.removeprefix("oldest "), is_words=True),
            url=reverse("moderation:queue-detail", args=["waiting"]),
            more=f"target {format_minutes(limit)}" if limit else "",
            plot=age_plot,
        )
    yield _build_own_day(user, parts, with_plot=series is not None)


def _draw_age(series: PeriodSeries) -> Sparkline:
    ages = series.find_peaks(Measure.AGE, "oldest")
    return Sparkline(
        name="spark-age",
        title="Age of the oldest image in 24 hours",
        summary=insights.summarize(ages, format_minutes),
        values=ages,
        target=settings.QUEUE_AGE_TARGET_MINUTES or None,
    )


def _build_own_day(user: User, parts: Mapping[str, Any], *, with_plot: bool) -> Stat:
    done = sum(int(number.text) for _, _, number in parts["verdicts"])
    plot = None
    if with_plot:
        now = timezone.now()
        newest = Decision.objects.filter(reviewer=user).order_by("-sequence")
        times = newest.values_list("created_at", flat=True)[:OWN_MAX]
        by_hour = [0] * (now.hour + 1)
        for created_at in times:
            if created_at < floor_day(now):
                break
            by_hour[created_at.hour] += 1
        plot = _draw(
            "own",
            "Your decisions by hour today",
            [float(count) for count in by_hour],
            insights.summarize([float(count) for count in by_hour], format_number),
            Tone.APPROVE,
        )
    return Stat(
        name="Your decisions today",
        number=Number("n-f-own", str(done)),
        url=reverse("moderation:history"),
        more="by hour, only for you",
        plot=plot,
    )


def _build_senior(parts: Mapping[str, Any], plots: Plots) -> Iterator[Stat]:
    rows = {row.queue.slug: row for row in parts["queues"]} if "queues" in parts else {}
    escalated = rows.get("escalated")
    series = plots.read("24h")
    if escalated is not None:
        plot = None
        if series:
            values = series.average(Measure.QUEUE, "escalated")
            plot = _draw(
                "escalated",
                "Escalated images in 24 hours",
                values,
                insights.summarize(values, lambda value: format_number(round(value))),
                Tone.ESCALATE,
            )
        yield Stat(
            name="Escalated",
            number=Number("n-f-escalated", escalated.count.text),
            url=reverse("moderation:queue-detail", args=["escalated"]),
            more=f"{parts['disagreements'].text} because two people disagreed",
            plot=plot,
        )
    unseen = NewFinding.objects.filter(seen_at__isnull=True)
    yield Stat(
        name="New findings",
        number=Number("n-f-findings", queues.count_bounded(unseen)),
        url=reverse("moderation:new-finding-list"),
        more="on images approved before",
    )


def _build_lead(parts: Mapping[str, Any], plots: Plots) -> Iterator[Stat]:
    sums = dict(parts["figures"])
    policy, people = (
        int(sums[name].text) for name in ("Decided automatically", "Decided by people")
    )
    series = plots.read("14d")
    share = format_share(policy / (policy + people)) if policy + people else "–"
    yield Stat(
        name="Settled by the policy today",
        number=Number("n-f-settled", share),
        url=reverse("moderation:insight-work"),
        more=f"{format_number(policy)} of {format_number(policy + people)} decisions; 14 days",
        plot=_draw_settled(series) if series else None,
    )
    if series:
        audits = insights.build_audits(series)
        yield Stat(
            name="Audited approvals that were wrong",
            number=Number("n-f-audits", audits.value),
            url=reverse("moderation:insight-quality"),
            more=f"14 days; {audits.comparison.partition(';')[0]}",
        )


def _draw_settled(series: PeriodSeries) -> Sparkline:
    shares = insights.compute_settled_shares(series)
    summary = insights.summarize(shares, format_share)
    return _draw("settled", "Share settled by the policy in 14 days", shares, summary)


def _build_operator(parts: Mapping[str, Any], plots: Plots) -> Iterator[Stat]:
    series = plots.read("24h")
    failing = [service.label for service in parts["services"] if service.status == "failed"]
    is_running = bool(parts["workers"])
    yield Stat(
        name="Worker",
        number=Number("n-f-worker", "Running" if is_running else "Not running", is_words=True),
        url=reverse("moderation:insight-services") + "?span=24h",
        more=f"failing: {', '.join(failing)}" if failing else "no service fails",
        status="" if is_running else "failed",
    )
    if series:
        errors = series.count(Measure.CALLS, _is_error)
        yield Stat(
            name="Failed calls in 24 hours",
            number=Number("n-f-errors", format_number(sum_known(errors))),
            url=reverse("moderation:insight-services") + "?span=24h",
            more="of providers, classifiers and webhooks",
            plot=_draw(
                "errors",
                "Failed calls in 24 hours",
                errors,
                insights.summarize(errors, format_number),
                Tone.REJECT,
            ),
        )
    spent = float(spending.sum_spending(spending.start_of_day()))
    limit = settings.SPENDING_LIMIT_PER_DAY
    yield Stat(
        name="Spent today",
        number=Number("n-f-spent", f"{spent:.2f} USD"),
        url=reverse("moderation:insight-services"),
        more=f"of {limit.normalize():f} USD allowed" if limit is not None else "no limit is set",
        status="failed" if limit is not None and spent >= limit else "",
    )


def _is_error(part: str) -> bool:
    return part.rpartition(":")[2] in ("failed", "retried")


def _build_record(parts: Mapping[str, Any]) -> Stat:
    verification = parts["verification"]
    number, more, status = "never verified", "verify it now", "unknown"
    if verification is not None:
        count = verification.faults
        number = f"{count} fault{'' if count == 1 else 's'}" if count else "unaltered"
        more = (
            f"up to decision {verification.decisions}, head {verification.head[:12]},"
            f" {verification.created_at:%d %b %H:%M}"
        )
        status = "failed" if verification.faults else "succeeded"
    return Stat(
        name="The record",
        number=Number("n-f-record", number, is_words=True),
        url=reverse("moderation:verification-list"),
        more=more,
        status=status,
    )


def _build_auditor(plots: Plots) -> Iterator[Stat]:
    change = PolicyActivation.objects.select_related("policy", "activated_by").last()
    if change is not None:
        by = f" by {change.activated_by.get_username()}" if change.activated_by else ""
        yield Stat(
            name="Policy in force",
            number=Number("n-f-policy", f"version {change.policy.version}", is_words=True),
            url=reverse("moderation:policy-list"),
            more=f"since {change.created_at:%-d %b %H:%M}{by}",
        )
    series = plots.read("14d")
    if series is None:
        return
    decided = series.count(Measure.DECISIONS)
    yield Stat(
        name="Decisions in 14 days",
        number=Number("n-f-decided", format_number(sum_known(decided))),
        url=reverse("moderation:decision-list"),
        more="by people and by the policy",
        plot=_draw(
            "decided",
            "Decisions in 14 days",
            decided,
            insights.summarize(decided, format_number),
        ),
    )
    agreement = insights.build_agreement(series)
    yield Stat(
        name="Second opinions that agree",
        number=Number("n-f-agreement", agreement.value, is_words=True),
        url=reverse("moderation:insight-quality"),
        more=f"in 14 days, {agreement.comparison.removeprefix('second opinions: ')}",
    )


def _build_developer(user: User) -> Iterator[Stat]:
    day_ago = timezone.now() - timedelta(days=1)
    calls = ApiCall.objects.filter(key__owner=user, created_at__gte=day_ago)
    newest = calls.order_by("-created_at").values("pk")[:OWN_MAX]
    found = ApiCall.objects.filter(pk__in=newest).aggregate(
        all=Count("pk"), refused=Count("pk", filter=Q(status__gte=400))
    )
    yield Stat(
        name="Your calls in 24 hours",
        number=Number("n-f-calls", queues.format_bounded(found["all"]), is_words=False),
        url=reverse("moderation:developers"),
        more=f"{found['refused']} refused",
    )
    own = Review.objects.filter(asset__api_key__owner=user, asset__created_at__gte=day_ago).values(
        "pk", "status"
    )[:OWN_MAX]
    states = [row["status"] for row in own]
    passed, rejected = states.count("approved"), states.count("rejected")
    yield Stat(
        name="Your images in 24 hours",
        number=Number("n-f-passed", f"{passed} passed", is_words=True),
        url=reverse("moderation:developers"),
        more=f"{len(states) - passed - rejected} wait, {rejected} rejected",
    )
