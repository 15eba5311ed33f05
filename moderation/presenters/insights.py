"""Context of the pages Insights: figures over time with their comparison, and a plot of each.

All figures are sums over everybody: none is about a single person.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.urls import reverse

from moderation import classifiers
from moderation.judgement.agreement import estimate_kappa
from moderation.judgement.estimates import Figure, estimate_wilson
from moderation.models import Measure
from moderation.presenters.charts import (
    Band,
    Chart,
    LineChart,
    Series,
    Size,
    StackedBars,
    Step,
    Target,
    Tone,
    list_values,
)
from moderation.presenters.charts.formats import (
    MINUTE_STEPS,
    SECOND_STEPS,
    format_decimal,
    format_minutes,
    format_number,
    format_seconds,
    format_share,
    format_usd,
)
from moderation.presenters.period_series import (
    SPAN_DEFAULT,
    SPANS,
    PeriodSeries,
    Span,
    Values,
    divide,
    sum_known,
)
from moderation.service_names import name_service
from moderation.services.exports.escaping import escape_cell
from moderation.services.period_counts import estimate_quantile

NOT_KNOWN: Final = "not known"
# From this factor on, a change is stated as a multiple.
FEW_TIMES: Final = 4


@dataclass(frozen=True, slots=True)
class Tab:
    """A page of Insights. Add further pages here: they appear in the navigation of all."""

    label: str
    url_name: str
    icon: str = ""


TABS: list[Tab] = [
    Tab("Work", "moderation:insight-work"),
    Tab("Quality", "moderation:insight-quality"),
    Tab("By category", "moderation:quality"),
    Tab("Services", "moderation:insight-services"),
    Tab("Classifiers", "moderation:insight-classifiers"),
    Tab("Risk", "moderation:insight-risk"),
    Tab("Prompt trials", "moderation:prompt-trial-list"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Insight:
    """A figure: the number first, what it compares with, and the plot below."""

    value: str
    comparison: str
    chart: Chart
    unit: str = ""
    is_alarming: bool = False


@dataclass(frozen=True, slots=True)
class TabLink:
    """A tab as the page shows it."""

    label: str
    url: str
    is_current: bool


def list_tabs(current: str, query: str = "") -> list[TabLink]:
    """Return the tabs; ``current`` is the URL name of the page, ``query`` is kept in the links."""
    return [
        TabLink(tab.label, reverse(tab.url_name) + query, tab.url_name == current) for tab in TABS
    ]


def parse_span(text: str) -> Span | None:
    """Return the span with this slug, the default for "", or None."""
    return SPANS.get(text or SPAN_DEFAULT)


def build_page(section: str, span: Span) -> dict[str, Any]:
    """Build the context of a page over time, with two queries."""
    url_name = f"moderation:insight-{section}"
    return {
        "tabs": list_tabs(url_name, f"?span={span.slug}"),
        "span": span,
        "spans": SPANS.values(),
        "insights": list(SECTIONS[section](PeriodSeries(span, measures=MEASURES[section]))),
    }


def build_document(span: Span) -> dict[str, Any]:
    """Return all figures over time as JSON."""
    counts = PeriodSeries(span)
    return {
        "span": span.slug,
        "step": span.step,
        "until": counts.now.isoformat(),
        "figures": {
            insight.chart.name: _describe(insight)
            for build in SECTIONS.values()
            for insight in build(counts)
        },
    }


def _describe(insight: Insight) -> dict[str, Any]:
    columns, rows = list_values(insight.chart)
    return {
        "title": insight.chart.title,
        "value": insight.value,
        "comparison": insight.comparison,
        "columns": columns,
        "rows": rows,
    }


def write_csv(span: Span, name: str) -> str | None:
    """Return one figure over time as CSV; None if there is no such figure.

    Without a name, all figures, one value a line.
    """
    counts = PeriodSeries(span)
    charts = {
        insight.chart.name: insight.chart
        for build in SECTIONS.values()
        for insight in build(counts)
    }
    if not name:
        return _write_rows(["figure", "start", "series", "value"], _iter_all(charts.values()))
    return _write_rows(*list_values(charts[name])) if name in charts else None


def _iter_all(charts: Iterable[Chart]) -> Iterator[list[Any]]:
    for chart in charts:
        columns, rows = list_values(chart)
        for row in rows:
            for series, value in zip(columns[1:], row[1:], strict=True):
                yield [chart.name, row[0], series, value]


def _write_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(map(escape_cell, columns))
    for row in rows:
        # A period without data has an empty cell, not zero.
        writer.writerow("" if cell is None else escape_cell(str(cell)) for cell in row)
    return file.getvalue()


# --- Comparisons ---
def compare(now: float, before: float | None, span: Span) -> str:
    """Return how a number differs from the span before, in words."""
    if before is None:
        return "no earlier data to compare with"
    if not before:
        return f"0 in the {span.label} before"
    if now >= FEW_TIMES * before:
        return f"{round(now / before):,} times that of the {span.label} before"
    change = round(100 * (now - before) / before)
    if not change:
        return f"as in the {span.label} before"
    return f"{abs(change)} % {'more' if change > 0 else 'less'} than in the {span.label} before"


def summarize(values: Sequence[float | None], format_value: Callable[[float], str]) -> str:
    """Return the range of the values, and the gaps, as a sentence."""
    known = [value for value in values if value is not None]
    if not known:
        return "No data yet."
    low, high = format_value(min(known)), format_value(max(known))
    missing = len(values) - len(known)
    gaps = f"; {missing} without data" if missing else ""
    return f"Between {low} and {high}, last {format_value(known[-1])}{gaps}."


def format_figure(figure: Figure, format_value: Callable[[float], str]) -> tuple[str, str]:
    """Return the value and its interval with n, as two texts."""
    if figure.value is None or figure.low is None or figure.high is None:
        return NOT_KNOWN, f"too few to say: {figure.n:,} of at least 30"
    ends = f"{format_value(figure.low)} and {format_value(figure.high)}"
    return format_value(figure.value), f"between {ends}, from {figure.n:,}"


def find_last(values: Sequence[float | None]) -> float | None:
    """Return the newest value that is known."""
    return next((value for value in reversed(values) if value is not None), None)


# --- Work ---
def build_work(counts: PeriodSeries) -> Iterator[Insight]:
    """Yield the figures on the flow of images."""
    yield _build_flow(counts)
    yield _build_depth(counts)
    yield _build_age(counts)
    yield build_settled(counts)


def _is_of_people(part: str) -> bool:
    return part.startswith("people:")


def _is_of_policy(part: str) -> bool:
    return part.startswith("policy:")


def _build_flow(counts: PeriodSeries) -> Insight:
    arrivals = counts.count(Measure.ARRIVALS)
    decided = counts.count(Measure.DECISIONS)
    total, done = sum_known(arrivals), sum_known(decided)
    before = counts.count_before(Measure.ARRIVALS)
    return Insight(
        value=format_number(total),
        unit="images arrived",
        comparison=f"{format_number(done)} decisions; {compare(total, before, counts.span)}",
        chart=LineChart(
            name="flow",
            title="Arrivals and decisions",
            size=Size.WIDE,
            summary=f"Arrivals: {summarize(arrivals, format_number)}"
            f" Decisions: {summarize(decided, format_number)}",
            axis=counts.axis,
            series=[
                Series("arrivals", arrivals),
                Series("decisions", decided, Tone.APPROVE),
            ],
        ),
    )


def _build_depth(counts: PeriodSeries) -> Insight:
    waiting = counts.average(Measure.QUEUE, "pending")
    escalated = counts.average(Measure.QUEUE, "escalated")
    last = find_last(waiting)
    peak = max((value for value in waiting if value is not None), default=None)
    return Insight(
        value=NOT_KNOWN if last is None else format_number(round(last)),
        unit="waiting",
        comparison=f"highest average {peak:,.1f} in the {counts.span.label}"
        if peak is not None
        else "no sample yet",
        chart=LineChart(
            name="queue",
            title="Waiting images",
            summary=f"Waiting: {summarize(waiting, _format_rounded)}"
            f" Escalated: {summarize(escalated, _format_rounded)}",
            axis=counts.axis,
            format_value=_format_rounded,
            series=[
                Series("waiting", waiting),
                Series("escalated", escalated, Tone.ESCALATE),
            ],
        ),
    )


def _format_rounded(value: float) -> str:
    return format_number(round(value))


def _build_age(counts: PeriodSeries) -> Insight:
    ages = counts.find_peaks(Measure.AGE, "oldest")
    known = [age for age in ages if age is not None]
    limit = settings.QUEUE_AGE_TARGET_MINUTES
    target = Target(limit, f"target {format_minutes(limit)}") if limit else None
    met = sum(age <= limit for age in known)
    last = find_last(ages)
    comparison = f"target {format_minutes(limit)}, met in {met} of {len(known)}" if limit else ""
    return Insight(
        value=NOT_KNOWN if last is None else format_minutes(last),
        unit="oldest image",
        comparison=comparison if known else "no sample yet",
        is_alarming=bool(limit and last is not None and last > limit),
        chart=LineChart(
            name="age",
            title="Age of the oldest waiting image",
            summary=summarize(ages, format_minutes),
            axis=counts.axis,
            series=[Series("oldest", ages)],
            target=target,
            format_value=format_minutes,
            steps=MINUTE_STEPS,
        ),
    )


def build_settled(counts: PeriodSeries) -> Insight:
    """Build the share of the decisions that the policy made alone."""
    by_policy = counts.count(Measure.DECISIONS, _is_of_policy)
    by_people = counts.count(Measure.DECISIONS, _is_of_people)
    policy, everything = sum_known(by_policy), sum_known(by_policy) + sum_known(by_people)
    before = counts.count_before(Measure.DECISIONS)
    policy_before = counts.count_before(Measure.DECISIONS, _is_of_policy)
    comparison = "no decisions in the span before"
    if before and policy_before is not None:
        comparison = f"{format_share(policy_before / before)} in the {counts.span.label} before"
    shares = compute_settled_shares(counts)
    return Insight(
        value=format_share(policy / everything) if everything else NOT_KNOWN,
        unit="settled by the policy",
        comparison=comparison,
        chart=LineChart(
            name="settled",
            title="Share settled by the policy",
            summary=summarize(shares, format_share),
            axis=counts.axis,
            series=[Series("share", shares)],
            ceiling=1.0,
            format_value=format_share,
        ),
    )


def compute_settled_shares(counts: PeriodSeries) -> Values:
    """Return the share of the decisions that the policy made alone, by period."""
    by_policy = counts.count(Measure.DECISIONS, _is_of_policy)
    return divide(by_policy, counts.count(Measure.DECISIONS))


def _add(*columns: Values) -> Values:
    return [
        None if any(value is None for value in row) else sum(value or 0.0 for value in row)
        for row in zip(*columns, strict=True)
    ]


# --- Quality ---
def build_quality(counts: PeriodSeries) -> Iterator[Insight]:
    """Yield the figures on how well people and the policy judge."""
    yield build_audits(counts)
    yield build_agreement(counts)
    yield _build_kappa(counts)
    yield _build_reversals(counts)


def _agrees(part: str) -> bool:
    first, _, second = part.partition(":")
    return first == second


def build_agreement(counts: PeriodSeries) -> Insight:
    """Build the share of second opinions that agree."""
    agreed = counts.count(Measure.OPINIONS, _agrees)
    given = counts.count(Measure.OPINIONS)
    whole = estimate_wilson(int(sum_known(agreed)), int(sum_known(given)))
    value, interval = format_figure(whole, format_share)
    estimates = [
        estimate_wilson(int(hits or 0), int(n or 0)) for hits, n in zip(agreed, given, strict=True)
    ]
    return Insight(
        value=value,
        unit="agree",
        comparison=f"second opinions: {interval}",
        chart=_chart_estimates(
            counts, "agreement", "Agreement of second opinions", estimates, format_share
        ),
    )


def _chart_estimates(
    counts: PeriodSeries,
    name: str,
    title: str,
    estimates: Sequence[Figure],
    format_value: Callable[[float], str],
) -> LineChart:
    values = [figure.value for figure in estimates]
    return LineChart(
        name=name,
        title=title,
        summary=f"{summarize(values, format_value)} A period with fewer than 30 has no value.",
        axis=counts.axis,
        series=[Series("value", values)],
        band=Band(
            "95 % interval",
            [figure.low for figure in estimates],
            [figure.high for figure in estimates],
        ),
        ceiling=1.0,
        format_value=format_value,
    )


def _build_kappa(counts: PeriodSeries) -> Insight:
    verdicts = ("approved", "rejected")
    cells = [
        [counts.count(Measure.OPINIONS, f"{one}:{two}".__eq__) for two in verdicts]
        for one in verdicts
    ]

    def estimate(index: int | None) -> Figure:
        def read(values: Values) -> int:
            found = sum_known(values) if index is None else values[index]
            return max(0, int(found or 0))

        return estimate_kappa([[read(values) for values in row] for row in cells])

    value, interval = format_figure(estimate(None), format_decimal)
    estimates = [estimate(index) for index in range(counts.span.periods)]
    return Insight(
        value=value,
        unit="kappa",
        comparison=f"agreement beyond chance: {interval}",
        chart=_chart_estimates(counts, "kappa", "Kappa of two people", estimates, format_decimal),
    )


def _build_reversals(counts: PeriodSeries) -> Insight:
    people = counts.count(Measure.REVERSALS, "people".__eq__)
    policy = counts.count(Measure.REVERSALS, "policy".__eq__)
    total = sum_known(people) + sum_known(policy)
    before = counts.count_before(Measure.REVERSALS)
    return Insight(
        value=format_number(total),
        unit="reversed",
        comparison=compare(total, before, counts.span),
        chart=StackedBars(
            name="reversals",
            title="Decisions reversed by another person",
            summary=f"Of people: {summarize(people, format_number)}"
            f" Of the policy: {summarize(policy, format_number)}",
            axis=counts.axis,
            series=[Series("people's", people), Series("policy's", policy, Tone.ESCALATE)],
        ),
    )


def build_audits(counts: PeriodSeries) -> Insight:
    """Build the answers to audits: what the policy let through, and what it stopped for nothing."""
    confirmed = counts.count(Measure.AUDITS, _agrees)
    missed = counts.count(
        Measure.AUDITS, lambda part: part in ("approved:rejected", "blurred:rejected")
    )
    other = counts.count(
        Measure.AUDITS,
        lambda part: not _agrees(part) and part not in ("approved:rejected", "blurred:rejected"),
    )
    of_approved = sum_known(counts.count(Measure.AUDITS, lambda part: part.startswith("approved:")))
    wrong = sum_known(counts.count(Measure.AUDITS, "approved:rejected".__eq__))
    value, interval = format_figure(estimate_wilson(int(wrong), int(of_approved)), format_share)
    return Insight(
        value=value,
        unit="of audited approvals wrong",
        # Near misses are drawn more often, so this is no estimate of all approvals.
        comparison=f"{interval}; near misses are audited more often, so the share of all approvals"
        " is lower",
        chart=StackedBars(
            name="audits",
            title="Answers to audits of the policy",
            size=Size.WIDE,
            summary=f"Confirmed: {summarize(confirmed, format_number)}"
            f" Wrongly approved: {summarize(missed, format_number)}",
            axis=counts.axis,
            series=[
                Series("confirmed", confirmed, Tone.APPROVE),
                Series("missed", missed, Tone.REJECT),
                Series("otherwise", other, Tone.PENDING),
            ],
        ),
    )


# --- Services ---
def build_services(counts: PeriodSeries) -> Iterator[Insight]:
    """Yield the figures on providers, classifiers, spending and webhooks."""
    yield build_spending(counts)
    calls = [part.split(":") for part in counts.list_parts(Measure.CALLS)]
    submitted = sorted({service for service, kind, _ in calls if kind in ("submit", "poll")})
    for service in submitted:
        yield _build_latency(counts, service)
        yield _build_calls(counts, service)
    for service in sorted({service for service, kind, _ in calls if kind == "classify"}):
        yield _build_classifier(counts, service)
    yield _build_deliveries(counts)


def build_spending(counts: PeriodSeries) -> Insight:
    """Build the spending by service, against the limit per day."""
    parts = counts.list_parts(Measure.SPEND)
    total = sum(sum_known(counts.add_up(Measure.SPEND, part.__eq__)) for part in parts)
    limit, target = settings.SPENDING_LIMIT_PER_DAY, None
    if limit is not None and counts.span.step != Step.HOUR:
        days = 7 if counts.span.step == Step.WEEK else 1
        target = Target(float(limit) * days, f"limit {format_usd(float(limit) * days)}")
    before = counts.add_up_before(Measure.SPEND)
    tones = (Tone.ACCENT, Tone.PENDING, Tone.ESCALATE, Tone.MUTED)
    series = [
        Series(name_service(part), counts.add_up(Measure.SPEND, part.__eq__), tones[index % 4])
        for index, part in enumerate(parts)
    ] or [Series("all", counts.add_up(Measure.SPEND))]
    allowed = f"limit {format_usd(float(limit))} a day" if limit is not None else "no limit is set"
    return Insight(
        value=format_usd(total),
        unit="spent",
        comparison=f"{allowed}; {compare(total, before, counts.span)}",
        chart=StackedBars(
            name="spending",
            title="Spending",
            size=Size.WIDE,
            summary=summarize(counts.add_up(Measure.SPEND), format_usd),
            axis=counts.axis,
            series=series,
            target=target,
            format_value=format_usd,
        ),
    )


def _build_latency(counts: PeriodSeries, service: str) -> Insight:
    by_period = [counts.list_classes(service, index) for index in range(counts.span.periods)]
    together = [pair for pairs in by_period for pair in pairs]
    middle, slow = estimate_quantile(together, 0.5), estimate_quantile(together, 0.95)
    high = [estimate_quantile(pairs, 0.95) for pairs in by_period]
    return Insight(
        value=NOT_KNOWN if middle is None else format_seconds(middle),
        unit="median answer",
        comparison=f"19 of 20 within {format_seconds(slow)}" if slow is not None else "no calls",
        chart=LineChart(
            name=f"latency-{service}",
            title=f"{name_service(service)}: time to an answer",
            summary=f"19 of 20: {summarize(high, format_seconds)}",
            axis=counts.axis,
            series=[
                Series("median", [estimate_quantile(pairs, 0.5) for pairs in by_period]),
                Series("19 of 20", high, Tone.ESCALATE),
            ],
            format_value=format_seconds,
            steps=SECOND_STEPS,
        ),
    )


def _build_calls(counts: PeriodSeries, service: str) -> Insight:
    def count(*outcomes: str) -> Values:
        parts = {f"{service}:{kind}:{name}" for kind in ("submit", "poll") for name in outcomes}
        return counts.count(Measure.CALLS, parts.__contains__)

    answered, errors = count("done"), count("failed", "retried")
    done, failed = sum_known(answered), sum_known(errors)
    return Insight(
        value=format_share(failed / (done + failed)) if done + failed else NOT_KNOWN,
        unit="of calls failed",
        comparison=f"{format_number(failed)} of {format_number(done + failed)}",
        chart=StackedBars(
            name=f"calls-{service}",
            title=f"{name_service(service)}: calls",
            summary=f"Answered: {summarize(answered, format_number)}"
            f" Failed: {summarize(errors, format_number)}",
            axis=counts.axis,
            series=[Series("answered", answered), Series("failed", errors, Tone.REJECT)],
        ),
    )


def _build_classifier(counts: PeriodSeries, slug: str) -> Insight:
    def count(outcome: str) -> Values:
        return counts.count(Measure.CALLS, f"{slug}:classify:{outcome}".__eq__)

    done, failed = count("done"), _add(count("failed"), count("retried"))
    skipped = count("skipped")
    classes = [
        pair for index in range(counts.span.periods) for pair in counts.list_classes(slug, index)
    ]
    middle = estimate_quantile(classes, 0.5)
    speed = f"; {format_seconds(middle)} an image" if middle is not None else ""
    failures = sum_known(failed)
    return Insight(
        value=format_number(sum_known(done)),
        unit="images classified",
        comparison=f"{format_number(failures)} failed attempts{speed}",
        chart=StackedBars(
            name=f"classifier-{slug}",
            title=f"{classifiers.label(slug)}: images",
            summary=f"Done: {summarize(done, format_number)}"
            f" Failed: {summarize(failed, format_number)}",
            axis=counts.axis,
            series=[
                Series("done", done),
                Series("failed", failed, Tone.REJECT),
                Series("not asked", skipped, Tone.PENDING),
            ],
        ),
    )


def _build_deliveries(counts: PeriodSeries) -> Insight:
    sent = counts.count(Measure.CALLS, "webhooks:deliver:done".__eq__)
    failed = counts.count(Measure.CALLS, "webhooks:deliver:failed".__eq__)
    return Insight(
        value=format_number(sum_known(sent)),
        unit="webhooks delivered",
        comparison=f"{format_number(sum_known(failed))} failed attempts",
        chart=StackedBars(
            name="deliveries",
            title="Deliveries to programs",
            summary=f"Delivered: {summarize(sent, format_number)}"
            f" Failed: {summarize(failed, format_number)}",
            axis=counts.axis,
            series=[Series("delivered", sent), Series("failed", failed, Tone.REJECT)],
        ),
    )


SECTIONS: Final[dict[str, Callable[[PeriodSeries], Iterator[Insight]]]] = {
    "work": build_work,
    "quality": build_quality,
    "services": build_services,
}
MEASURES: Final = {
    "work": (Measure.ARRIVALS, Measure.DECISIONS, Measure.QUEUE, Measure.AGE),
    "quality": (Measure.OPINIONS, Measure.REVERSALS, Measure.DECISIONS, Measure.AUDITS),
    "services": (Measure.CALLS, Measure.LATENCY, Measure.SPEND),
}
