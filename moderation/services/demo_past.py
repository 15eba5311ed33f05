"""Invent a past for the demo, so that plots and histograms have something to show.

Pictures are drawn and stored like all others. Their results, the decisions on them and the calls of
services are made up and dated back; the record is chained as usual, and the ordinary jobs count it.
The same seed gives the same past, apart from its dates.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from generation import imaging
from generation.models import Asset, GenerationRequest, ServiceCall, Source
from generation.sandbox import cards
from generation.sandbox.pictures import render_picture
from generation.services.storing import Origin, store_rendition
from generation.wire.txt2img import Request
from moderation import classifiers, demo, taxonomy
from moderation.classifiers.base import Coverage
from moderation.models import (
    Audit,
    Classification,
    CountProgress,
    Decision,
    Label,
    Measure,
    Policy,
    PolicyActivation,
    PolicyProposal,
    Review,
    Verdict,
    found_categories,
)
from moderation.models.classification_summary import deserialize, serialize
from moderation.models.decisions import is_blurred_after, is_for_lead_after, status_after
from moderation.policy_engine import Outcome, Thresholds
from moderation.services import (
    audit_log,
    audits,
    classification,
    period_counts,
    policies,
    policy_contents,
    sealing,
    second_opinions,
)

SEED: Final = 7
REQUESTS_A_DAY: Final = (5, 6, 5, 7, 6, 3, 2)  # from Monday to Sunday
IMAGES: Final = 3  # of a request
SIZES: Final = ((320, 320), (384, 256), (256, 384))
FIRST_HOUR, LAST_HOUR = 7, 18  # UTC, of requests
# Decisions end this long before now, so that the record stays in order of time.
QUIET: Final = timedelta(minutes=10)
CHANGE_AFTER: Final = 0.55  # share of the past before the second version of the policy
NANOGPT_COST: Final = Decimal("0.001500")  # USD an image
# Shares of decisions: audited, with a second opinion, escalated, reversed. Higher than usual,
# because the past is small.
AUDITED, SECONDED, ESCALATED, REVERSED = 0.75, 0.25, 0.06, 0.05
MISSED: Final = 0.05  # share of images in which people see more than the classifiers
SLIPS: Final = 0.12  # probability that a person errs where there is doubt
SEVERE: Final = frozenset({"explicit", "violence", "visually-disturbing", "hate-symbols"})
NOTE: Final = "Invented for the demo."
# Coverage by classifier, as the classifiers themselves report it.
COVERS: Final = {
    "sandbox": {category.slug: Coverage.FULL for category in taxonomy.L1},
    "local": {
        "explicit": Coverage.PARTIAL,
        "non-explicit": Coverage.PARTIAL,
        "swimwear-underwear": Coverage.HEURISTIC,
    },
    "nanogpt": {"explicit": Coverage.PARTIAL},
}
TAKES: Final = {"sandbox": 45, "local": 320, "nanogpt": 900}  # milliseconds of a classification

# Columns of reviews that follow from the results.
SETTLED: Final = (
    *("policy", "classification_summary", "reason", "risk", "top_category", "top_category_l1"),
    *("top_confidence", "found"),
)

Labels = tuple[tuple[str, int], ...]  # slug, percent


@dataclass(frozen=True, slots=True)
class Order:
    """A request of the past, with what its pictures are marked with."""

    at: datetime
    prompt: str
    number: int
    size: tuple[int, int]
    labels: list[Labels] = field(default_factory=list)


@dataclass(slots=True)
class Case:
    """An image of the past on its way through the desk."""

    review: Review
    at: datetime
    labels: Labels
    should_go: bool  # whether a careful person would reject it
    first: Decision | None = None


@dataclass(slots=True)
class Team:
    """The people of the demo who act in the past, and the two versions of the policy."""

    moderator: User
    senior: User
    lead: User
    requesters: list[User]
    before: Policy
    after: Policy
    changed_at: datetime


Step = Callable[[datetime], None]


@transaction.atomic
def create(*, days: int, policy: Policy, provider: str) -> int:
    """Invent the images and decisions of the last days; return the number of images.

    ``policy`` is inactive; it replaces an earlier version somewhere within the past. Only for an
    installation without images: the record begins with this past.
    """
    return _Past(days=days, policy=policy, provider=provider).create()


def create_earlier_policy(*, based_on: Policy) -> Policy:
    """Create the policy that was in force in the first part of the past."""
    rules = {
        rule.category: Thresholds(
            review_at=Decimal(demo.EARLIER_ALCOHOL_FROM)
            if rule.category == "alcohol"
            else rule.review_at,
            blur_at=rule.blur_at,
            reject_at=rule.reject_at,
        )
        for rule in based_on.rules.all()
    }
    return policies.create_version(
        based_on=based_on,
        user=None,
        rules=rules,
        name=demo.EARLIER_POLICY_NAME,
        note=demo.EARLIER_POLICY_NOTE,
        trusted_silences=[classifiers.LOCAL],
        accepted_unchecked=list(demo.ACCEPTED_UNCHECKED),
    )


class _Past:
    """The state while a past is invented."""

    def __init__(self, *, days: int, policy: Policy, provider: str) -> None:
        self.random = random.Random(SEED)
        self.now = timezone.now()
        self.days, self.provider = days, provider
        self.start = self.now - timedelta(days=days)
        people = {user.username: user for user in User.objects.all()}
        self.team = Team(
            moderator=people["moderator"],
            senior=people["senior"],
            lead=people["lead"],
            requesters=[people["artist"], people["artist"], people["integrator"]],
            before=Policy.objects.filter(name=demo.EARLIER_POLICY_NAME).latest("version"),
            after=policy,
            changed_at=self.start + CHANGE_AFTER * (self.now - self.start),
        )
        self._steps: list[tuple[datetime, int, Step]] = []
        self._order = count()

    def create(self) -> int:
        self._change_policies()
        orders = list(self._list_orders())
        cases = self._store(orders)
        self._classify(cases)
        self._note_calls(orders)
        for case in cases:
            self._plan(case.at + timedelta(seconds=6), partial(self._settle, case))
        self._run()
        self._finish(cases)
        self._sample_queue(cases)
        return len(cases)

    # --- Policies ---
    def _change_policies(self) -> None:
        team = self.team
        first = Policy.objects.active()
        proposal = PolicyProposal.objects.create(
            policy=team.after,
            status=PolicyProposal.Status.APPLIED,
            author=team.lead,
            reason=demo.POLICY_REASON,
            created_at=team.changed_at - timedelta(hours=5),
            fingerprint=policy_contents.compute_fingerprint(team.after),
            approver=team.lead,
            approved_at=team.changed_at,
        )
        for policy, previous, at, of in (
            (team.before, first, self.start, None),
            (team.after, team.before, team.changed_at, proposal),
        ):
            event = PolicyActivation.objects.create(
                policy=policy,
                previous=previous,
                created_at=at,
                activated_by=of.approver if of else None,
                author=of.author if of else None,
                reason=of.reason if of else NOTE,
                proposal=of,
                changes=[change.to_json() for change in policy_contents.compare(previous, policy)],
            )
            Policy.objects.filter(pk=policy.pk).update(created_at=at, activated_at=at)
            policy.refresh_from_db()
            sealing.note_activation(event)

    def _find_policy(self, at: datetime) -> Policy:
        return self.team.before if at < self.team.changed_at else self.team.after

    # --- Images ---
    def _list_orders(self) -> Iterator[Order]:
        number = 0
        for day in range(self.days):
            morning = period_counts.floor_day(self.start + timedelta(days=day))
            hours = sorted(
                self.random.uniform(FIRST_HOUR, LAST_HOUR)
                for _ in range(REQUESTS_A_DAY[morning.weekday()])
            )
            for hour in hours:
                at = morning + timedelta(hours=hour)
                if not self.start < at < self.now - timedelta(hours=2):
                    continue
                number += 1
                prompt = demo.PAST_PROMPTS[number * 11 % len(demo.PAST_PROMPTS)]
                yield Order(
                    at=at,
                    prompt=prompt,
                    number=number,
                    size=SIZES[number % len(SIZES)],
                    labels=[self._mark(prompt) for _ in range(IMAGES)],
                )

    def _mark(self, prompt: str) -> Labels:
        """Return the categories of a picture: around those of its words, or a stray weak one."""
        named = cards.parse_steering(prompt).labels
        if not named and self.random.random() < 0.3:
            card = self.random.choice([card for card in cards.CARDS if "." in card.slug])
            return ((card.slug, round(self.random.triangular(2, 45, 6))),)
        return tuple(
            (slug, round(min(99, max(3, self.random.gauss(percent - 22, 22)))))
            for slug, percent in named
        )

    def _store(self, orders: list[Order]) -> list[Case]:
        """Draw and store the pictures. Drawing and decoding take most of the time: two at once."""
        places = [(order, place) for order in orders for place in range(IMAGES)]
        with ThreadPoolExecutor(max_workers=2) as threads:
            renditions = list(threads.map(_draw, places))
        requests = {order.number: self._create_request(order) for order in orders}
        cases = []
        for (order, place), rendition in zip(places, renditions, strict=True):
            request = requests[order.number]
            asset = store_rendition(
                rendition=rendition,
                origin=Origin(
                    source=Source.TXT2IMG,
                    request=request,
                    position=place,
                    seed=request.seed + place,
                ),
            )
            at = order.at + timedelta(seconds=9)
            Asset.objects.filter(pk=asset.pk).update(created_at=at)
            Review.objects.filter(asset=asset).update(created_at=at)
            labels = order.labels[place]
            cases.append(
                Case(
                    review=Review.objects.select_related("asset").get(asset=asset),
                    at=at,
                    labels=labels,
                    should_go=any(self._is_too_much(*label) for label in labels)
                    or self.random.random() < MISSED,
                )
            )
        return cases

    def _is_too_much(self, slug: str, percent: int) -> bool:
        factor = 0.9 if slug.partition(".")[0] in SEVERE else 0.35
        return self.random.random() < factor * (percent / 100) ** 2

    def _create_request(self, order: Order) -> GenerationRequest:
        width, height = order.size
        return GenerationRequest.objects.create(
            provider=self.provider,
            status=GenerationRequest.Status.SUCCEEDED,
            progress=100,
            provider_task_id=f"invented-{order.number}",
            model_name=demo.choose_model(order.number),
            prompt=order.prompt,
            width=width,
            height=height,
            image_num=IMAGES,
            steps=20 + order.number % 11,
            guidance_scale=7.5,
            sampler_name="Euler a",
            seed=90_000 + 41 * order.number,
            loras=[{"model_name": demo.PAST_LORAS[order.number % 2], "strength": 0.7}]
            if order.number % 4 == 0
            else [],
            cost=Decimal(0),
            requested_by=self.team.requesters[order.number % len(self.team.requesters)],
            created_at=order.at,
            submitted_at=order.at + timedelta(seconds=1),
            finished_at=order.at + timedelta(seconds=9),
        )

    def _classify(self, cases: list[Case]) -> None:
        """End the classifications that the stored images wait for, with invented results."""
        by_asset = {case.review.asset_id: case for case in cases}
        rows = Classification.objects.filter(asset__in=by_asset)
        rows.exclude(classifier__in=COVERS).delete()
        changed, labels = [], []
        for run in rows:
            case = by_asset[run.asset_id]
            percent = max((p for slug, p in case.labels if slug.startswith("explicit")), default=0)
            run.created_at, run.finished_at = case.at, case.at + timedelta(seconds=4)
            run.covers = COVERS[run.classifier]
            run.duration_ms = round(TAKES[run.classifier] * self.random.uniform(0.7, 1.8))
            # Not as a note, which the policy would read as a doubt about the verdict.
            run.raw = {"invented": NOTE}
            if run.classifier == "sandbox":
                run.flagged = bool(case.labels)
                labels += [
                    Label(classification=run, category=slug, confidence=Decimal(number))
                    for slug, number in case.labels
                ]
            elif run.classifier == "nanogpt":
                run.flagged, run.cost = percent >= 60, NANOGPT_COST
            changed.append(run)
        Classification.objects.bulk_update(
            changed,
            [
                *("created_at", "finished_at", "covers", "duration_ms"),
                *("raw", "flagged", "cost"),
            ],
            batch_size=50,
        )
        Classification.objects.filter(asset__in=by_asset).update(
            status=Classification.Status.DONE, due_at=None
        )
        Label.objects.bulk_create(labels)

    # --- Decisions, in order of time ---
    def _plan(self, at: datetime, step: Step) -> None:
        """Add a step. What would happen after the past has not happened."""
        if at < self.now - QUIET:
            heappush(self._steps, (at, next(self._order), step))

    def _run(self) -> None:
        while self._steps:
            at, _, step = heappop(self._steps)
            step(at)

    def _decide(
        self, case: Case, at: datetime, verdict: Verdict, *, by: User | None = None, **fields: Any
    ) -> Decision:
        decision = Decision(
            review=case.review,
            verdict=verdict,
            reviewer=by,
            reviewer_name=by.get_username() if by else "",
            policy=case.review.policy,
            policy_in_force=self._find_policy(at),
            by_policy=by is None,
            created_at=at,
            **fields,
        )
        if by is not None and verdict != Verdict.REVERSE:
            seconds = self.random.lognormvariate(1.4, 0.6)
            decision.seconds = Decimal(f"{min(seconds, 90):.1f}")
        audit_log.append(decision)
        return decision

    def _settle(self, case: Case, at: datetime) -> None:
        """Apply the policy then in force to the results, as the job would have."""
        review, policy = case.review, self._find_policy(at)
        runs = Classification.objects.current_for_asset(review.asset_id)
        settlement = classification.compute_settlement(
            review, runs, classification.build_rules(policy), {}
        )
        review.policy = policy
        review.classification_summary = serialize(runs)
        review.reason, review.risk = settlement.reason, settlement.risk
        review.top_category = settlement.top_category
        review.top_category_l1 = settlement.top_category.partition(".")[0]
        review.top_confidence = settlement.confidence
        review.found = found_categories.combine_bits(slug for slug, _ in case.labels)
        if settlement.outcome is Outcome.PERSON:
            self._plan(self._choose_time(at), lambda at: self._judge(case, at))
            return
        verdict = Verdict.REJECT if settlement.outcome is Outcome.REJECT else Verdict.APPROVE
        decision = self._decide(
            case,
            at,
            verdict,
            categories=list(settlement.categories),
            is_blurred=settlement.outcome is Outcome.BLUR,
        )
        case.first = decision
        if self.random.random() < AUDITED:
            Audit.objects.create(
                decision=decision,
                stratum=audits.find_stratum(deserialize(review.classification_summary)),
                probability=Decimal(str(AUDITED)),
                created_at=at,
            )
            review.second_opinion = Review.SecondOpinion.WANTED
            self._plan(self._choose_time(at, wait=14), lambda at: self._judge_again(case, at))

    def _choose_time(self, at: datetime, *, wait: float = 0.4) -> datetime:
        """Return when somebody gets to an image: minutes to hours later, during a day's shifts."""
        then = at + timedelta(hours=self.random.expovariate(1 / wait), minutes=2)
        if then.hour >= LAST_HOUR + 2 or then.hour < FIRST_HOUR:
            morning = period_counts.floor_day(then + timedelta(hours=24 - LAST_HOUR - 2))
            then = morning + timedelta(hours=FIRST_HOUR, minutes=self.random.uniform(0, 90))
        return then

    def _choose_verdict(self, case: Case, *, slips: float) -> tuple[Verdict, list[str]]:
        """Return what a person decides, who errs with this probability where there is doubt."""
        is_wrong = bool(case.labels) and self.random.random() < slips
        if case.should_go == is_wrong:
            return Verdict.APPROVE, []
        return Verdict.REJECT, self._name_reasons(case)

    def _name_reasons(self, case: Case) -> list[str]:
        reasons = taxonomy.list_reject_reasons()
        return sorted({slug for slug, _ in case.labels if slug in reasons}) or ["violence.graphic"]

    def _judge(self, case: Case, at: datetime) -> None:
        """Let a moderator decide, or escalate to the senior."""
        person = self.team.moderator if self.random.random() < 0.8 else self.team.senior
        if person == self.team.moderator and self.random.random() < ESCALATED:
            self._decide(case, at, Verdict.ESCALATE, by=person, note="Not sure about this one.")
            self._plan(self._choose_time(at, wait=2), lambda at: self._conclude(case, at))
            return
        verdict, categories = self._choose_verdict(case, slips=SLIPS)
        case.first = self._decide(case, at, verdict, by=person, categories=categories)
        chance = self.random.random()
        if chance < SECONDED:
            case.review.second_opinion = Review.SecondOpinion.WANTED
            self._plan(self._choose_time(at, wait=6), lambda at: self._judge_again(case, at))
        elif chance < SECONDED + REVERSED and person == self.team.moderator:
            self._plan(self._choose_time(at, wait=3), lambda at: self._reverse(case, at))

    def _judge_again(self, case: Case, at: datetime) -> None:
        """Give the blind second opinion; a disagreement goes to somebody who gave none."""
        first = case.first
        if first is None:
            return
        is_other = first.reviewer_id == self.team.moderator.pk or self.random.random() < 0.3
        person = self.team.senior if is_other else self.team.moderator
        verdict, categories = self._choose_verdict(case, slips=SLIPS)
        opinion = self._decide(case, at, verdict, by=person, categories=categories, second_of=first)
        if opinion.disagrees:
            is_senior_free = self.team.senior.pk not in {first.reviewer_id, person.pk}
            judge = self.team.senior if is_senior_free else self.team.lead
            self._plan(self._choose_time(at, wait=8), lambda at: self._conclude(case, at, judge))

    def _conclude(self, case: Case, at: datetime, judge: User | None = None) -> None:
        """Decide an escalated image."""
        verdict, categories = self._choose_verdict(case, slips=0.0)
        case.first = self._decide(
            case, at, verdict, by=judge or self.team.senior, categories=categories
        )

    def _reverse(self, case: Case, at: datetime) -> None:
        """Let the senior reverse a decision for a reason, and decide again."""
        first = case.first
        if first is None:
            return
        note = "On a second look the picture says otherwise."
        self._decide(case, at, Verdict.REVERSE, by=self.team.senior, note=note, reverses=first)
        verdict = Verdict.REJECT if first.verdict == Verdict.APPROVE else Verdict.APPROVE
        categories = self._name_reasons(case) if verdict == Verdict.REJECT else []

        def decide(at: datetime) -> None:
            self._decide(case, at, verdict, by=self.team.senior, categories=categories)

        self._plan(at + timedelta(seconds=20), decide)

    # --- Projections and counts ---
    def _finish(self, cases: list[Case]) -> None:
        """Bring the reviews to where their decisions lead."""
        for case in cases:
            review = case.review
            effective = Decision.objects.list_effective(review)
            last = next((row for row in reversed(effective) if row.second_of_id is None), None)
            status = status_after(effective)
            is_final = status in Review.DECIDED and last is not None
            is_open = review.second_opinion == Review.SecondOpinion.WANTED
            Review.objects.filter(pk=review.pk).update(
                **{name: getattr(review, name) for name in SETTLED},
                status=status,
                second_opinion=second_opinions.compute_opinion(effective, is_open=is_open),
                decided_at=last.created_at if is_final and last else None,
                decided_by=last.reviewer if is_final and last else None,
                is_blurred=is_blurred_after(effective),
                for_lead=is_for_lead_after(effective),
            )

    def _note_calls(self, orders: list[Order]) -> None:
        """Note calls of services as the clients would have. The job counts and deletes them."""
        kinds, outcomes = ServiceCall.Kind, ServiceCall.Outcome
        calls = []
        for order in orders:
            failed = self.random.random() < 0.05
            calls.append(
                ServiceCall(
                    service=self.provider,
                    kind=kinds.SUBMIT,
                    outcome=outcomes.RETRIED if failed else outcomes.DONE,
                    milliseconds=round(self.random.lognormvariate(6.2, 0.5)),
                    created_at=order.at,
                )
            )
            for slug, usual in TAKES.items():
                calls.append(
                    ServiceCall(
                        service=slug,
                        kind=kinds.CLASSIFY,
                        outcome=outcomes.DONE,
                        count=IMAGES,
                        milliseconds=round(usual * self.random.uniform(0.7, 1.8)),
                        cost=IMAGES * NANOGPT_COST if slug == "nanogpt" else Decimal(0),
                        created_at=order.at + timedelta(seconds=12),
                    )
                )
        ServiceCall.objects.bulk_create(calls, batch_size=100)

    def _sample_queue(self, cases: list[Case]) -> None:
        """Sample the queue of each hour, and let the counts of calls begin with the past."""
        sums = period_counts.Sums()
        waits = []
        for case in cases:
            first = case.review.decisions.order_by("sequence").first()
            if first is None or not first.by_policy:
                waits.append((case.at, first.created_at if first else self.now))
        at = period_counts.floor_hour(self.start) + timedelta(hours=1)
        while at < self.now:
            open_since = [came for came, left in waits if came <= at < left]
            sums.add(at, Measure.QUEUE, Review.Status.PENDING, total=len(open_since))
            sums.add(at, Measure.QUEUE, Review.Status.ESCALATED, total=0)
            minutes = (at - min(open_since)).total_seconds() / 60 if open_since else 0.0
            sums.add(at, Measure.AGE, "oldest", total=minutes)
            at += timedelta(hours=1)
        sums.store()
        for stream in (CountProgress.Stream.CALLS, CountProgress.Stream.QUEUE):
            CountProgress.objects.update_or_create(
                stream=stream, defaults={"began_at": self.start, "due_at": self.now}
            )


def _draw(place: tuple[Order, int]) -> imaging.Rendition:
    """Draw a picture as the sandbox does, marked with its own categories."""
    order, position = place
    labels = order.labels[position]
    marks = " ".join(
        f"sandbox:{slug}@{min(99, percent + 6 * position)}" for slug, percent in labels
    )
    width, height = order.size
    request = Request(
        model_name=demo.choose_model(order.number),
        prompt=f"{order.prompt} sandbox:clean {marks}",
        width=width,
        height=height,
        image_num=IMAGES,
        steps=20,
        guidance_scale=7.5,
        sampler_name="Euler a",
        seed=1,
    )
    return imaging.render(render_picture(request, 90_000 + 41 * order.number, position, "jpeg"))
