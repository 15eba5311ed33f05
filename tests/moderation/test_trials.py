"""Drafts of policies, replayed over the record."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

import moderation.tasks
from moderation import classifiers, taxonomy
from moderation.models import Classification, Decision, Policy, PolicyTrial, Review
from moderation.policy_engine import Outcome, Settlement, settle
from moderation.services import asking, classification, costs, trial_runs, trials
from moderation.services.trials import Plan, TrialError
from tests.moderation.trial_helpers import make_policies, make_record

pytestmark = pytest.mark.django_db
DAYS = 30


@pytest.fixture
def pair(lead: User, moderator: User, other_moderator: User) -> tuple[Policy, Policy]:
    """Return a baseline and a candidate, with a record of 1,000 reviews."""
    found = make_policies(lead)
    make_record(1_000, people=[moderator, other_moderator], policy=found[0])
    return found


@pytest.fixture
def small(lead: User, moderator: User, other_moderator: User) -> tuple[Policy, Policy]:
    """Return a baseline and a candidate, with a record of 120 reviews."""
    found = make_policies(lead)
    make_record(120, people=[moderator, other_moderator], policy=found[0])
    return found


def compute(pair: tuple[Policy, Policy], **options: Any) -> dict[str, Any]:
    baseline, candidate = pair
    return trials.compute(Plan.of(candidate=candidate, baseline=baseline, days=DAYS), **options)


# --- The independent computation: one review after the other, without anything of the trial ---
def settle_naively(policy: Policy, review: Review) -> tuple[Settlement, set[str]]:
    """Settle one review; return the settlement, and the classifiers that are not asked."""
    runs = Classification.objects.current_for_asset(review.asset_id)
    rules = classification.build_rules(policy)
    evidence = classification.build_evidence(runs)
    skipped = set()
    for rule in policy.ask_rules.all():
        stage = classifiers.get_stage(rule.classifier)
        earlier = [one for one in evidence if classifiers.get_stage(one.classifier) < stage]
        image = asking.Image(uuid=review.asset.uuid, source=review.source, earlier=earlier)
        if asking.explain_skip(rule, rules, image):
            skipped.add(rule.classifier)
            evidence = [one for one in evidence if one.classifier != rule.classifier]
    doubts = classification.find_frame_doubts(review.asset.frames)
    return settle(rules, [*evidence, *doubts], imported=review.source == "upload"), skipped


def find_verdict_naively(review: Review) -> tuple[Decision | None, bool]:
    """Return the person's decision that counts, and whether it answers an audit."""
    rows = list(Decision.objects.filter(review=review).order_by("sequence"))
    gone = {row.reverses_id for row in rows}
    left = [row for row in rows if row.pk not in gone and row.verdict != "reopen"]
    firsts = [row for row in left if row.second_of_id is None]
    if not firsts:
        return None, False
    first = firsts[-1]
    seconds = [row for row in left if row.second_of_id == first.pk]
    if first.by_policy:
        return (seconds[0], True) if seconds else (None, False)
    if first.verdict == "escalate":
        return None, False
    same = all(
        (row.verdict, row.is_blurred) == (first.verdict, first.is_blurred) for row in seconds
    )
    return (first, False) if same else (None, False)


def find_wilson(hits: int, n: int) -> tuple[float, float, float] | None:
    if not n:
        return None
    z, p = 1.959963984540054, hits / n
    centre = p + z * z / (2 * n)
    reach = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return p, (centre - reach) / (1 + z * z / n), (centre + reach) / (1 + z * z / n)


class Naive:
    """Plain counts, review by review."""

    def __init__(self, pair: tuple[Policy, Policy]) -> None:
        self.pair = pair
        self.policy: Counter[tuple[str, str]] = Counter()
        self.record: Counter[tuple[str, str]] = Counter()
        self.wrong: Counter[tuple[str, str, str, str]] = Counter()
        self.every: Counter[tuple[str, str, str, str]] = Counter()
        self.changed: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.seconds: list[float] = []
        self.watched = {
            policy.pk: {rule.category.split(".")[0] for rule in policy.rules.all()}
            for policy in Policy.objects.all()
        }
        since = timezone.now() - timedelta(days=DAYS)
        for review in Review.objects.filter(created_at__gte=since).select_related("asset"):
            runs = Classification.objects.current_for_asset(review.asset_id)
            if review.status != "classifying" and all(run.status != "queued" for run in runs):
                self.count(review, runs)

    def count(self, review: Review, runs: list[Classification]) -> None:
        stands = {"approved": "approve", "rejected": "reject"}.get(review.status, "person")
        stands = "blur" if review.is_blurred else stands
        (old, old_skips), (new, new_skips) = (
            settle_naively(policy, review) for policy in self.pair
        )
        self.policy[old.outcome.value, new.outcome.value] += 1
        self.record[stands, new.outcome.value] += 1
        if any(run.classifier == "nanogpt" and run.is_evidence for run in runs):
            self.asked["images"] += 1
            self.asked["baseline"] += "nanogpt" not in old_skips
            self.asked["candidate"] += "nanogpt" not in new_skips
        people = Decision.objects.filter(review=review, by_policy=False).exclude(verdict="reopen")
        self.seconds += [float(row.seconds) for row in people if row.seconds is not None]
        verdict, is_blind = find_verdict_naively(review)
        if old.outcome != new.outcome:
            self.changed["blind" if is_blind else "influenced" if verdict else "none"] += 1
        if verdict is not None:
            for kind in ["all", "blind"] if is_blind else ["all"]:
                self.compare("baseline", old, verdict, kind)
                self.compare("candidate", new, verdict, kind)

    def compare(self, name: str, settlement: Settlement, verdict: Decision, kind: str) -> None:
        says = "blur" if verdict.is_blurred else verdict.verdict
        shown = {slug.split(".")[0] for slug in verdict.categories}
        if settlement.outcome in (Outcome.APPROVE, Outcome.BLUR):
            known = shown if says != "approve" else self.watched[verdict.policy_in_force_id or 0]
            bad = says == "reject" or (says == "blur" and settlement.outcome == "approve")
            for slug in {"any", *known}:
                self.every[name, "approvals", kind, slug] += 1
                self.wrong[name, "approvals", kind, slug] += bad
        elif settlement.outcome is Outcome.REJECT:
            for slug in {"any", *(slug.split(".")[0] for slug in settlement.categories)}:
                self.every[name, "rejections", kind, slug] += 1
                self.wrong[name, "rejections", kind, slug] += says != "reject"


def test_numbers_equal_an_independent_computation(pair: tuple[Policy, Policy]) -> None:
    figures, naive = compute(pair), Naive(pair)

    assert figures["images"] == naive.policy.total() > 700
    for name, counts in (("policy", naive.policy), ("record", naive.record)):
        found = {(cell["old"], cell["new"]): cell["images"] for cell in figures[name]}
        assert found == {cell: counts[cell] for cell in found}
        assert len(counts) >= 10
    assert figures["changed"]["bias"].startswith(f"{naive.changed.total():,} images")
    for kind in ("blind", "influenced", "none"):
        assert figures["changed"][kind] == naive.changed[kind] > 10

    rows = {
        (policy, row["kind"], row["verdicts"], row["category"]): row[policy]
        for row in figures["errors"]
        for policy in ("baseline", "candidate")
    }
    assert set(naive.every) <= set(rows)
    for key, row in rows.items():
        assert (row["wrong"], row["n"]) == (naive.wrong[key], naive.every[key])
        expected = find_wilson(row["wrong"], row["n"])
        if expected is None:
            assert row["value"] is row["low"] is row["high"] is None
        else:
            assert [row["value"], row["low"], row["high"]] == pytest.approx(expected, abs=1e-9)
    assert {key[3] for key, row in rows.items() if row["wrong"]} > {"any", "explicit", "violence"}
    assert {slug for _, _, _, slug in rows} <= {"any", *(row.slug for row in taxonomy.L1)}

    queue = figures["queue"]
    old = sum(images for (old, _), images in naive.policy.items() if old == "person")
    new = sum(images for (_, new), images in naive.policy.items() if new == "person")
    assert (queue["images"]["baseline"], queue["images"]["candidate"]) == (old, new)
    assert queue["images_per_day"]["change"] == pytest.approx((new - old) / DAYS, rel=0.02)
    assert queue["median_seconds"] == pytest.approx(statistics.median(naive.seconds))
    assert queue["timed_decisions"] == len(naive.seconds)
    assert queue["hours_per_day"]["candidate"] == pytest.approx(
        queue["images_per_day"]["candidate"] * statistics.median(naive.seconds) / 3600
    )
    (spending,) = figures["spending"]
    price = float(costs.find_price("nanogpt").usd)
    assert spending["images"] == naive.asked["images"] > 100
    assert spending["asked"] == {name: naive.asked[name] for name in ("baseline", "candidate")}
    assert spending["asked"]["candidate"] < spending["asked"]["baseline"]
    assert spending["usd"]["candidate"] == pytest.approx(price * naive.asked["candidate"])


def test_a_sample_says_what_it_is_and_how_sure_it_is(
    small: tuple[Policy, Policy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "SAMPLED", 60)

    sample, everything = compute(small, only_sample=True), compute(small)

    assert sample["images"] < everything["images"] <= sample["expected"]
    counts = {(cell["old"], cell["new"]): cell["images"] for cell in everything["policy"]}
    within = [
        cell["projected"]["low"] <= counts[cell["old"], cell["new"]] <= cell["projected"]["high"]
        for cell in sample["policy"]
        if counts[cell["old"], cell["new"]]
    ]
    assert sum(within) >= 0.8 * len(within)  # intervals of 95 %, and the sample is always the same


def test_command_prints_the_figures_of_the_job(small: tuple[Policy, Policy], lead: User) -> None:
    baseline, candidate = small
    trial = trials.start(candidate=candidate, baseline=baseline, days=DAYS, user=lead)
    moderation.tasks.try_policies()
    trial.refresh_from_db()
    out, text = StringIO(), StringIO()

    call_command("try_policy", policy=candidate.version, days=DAYS, json=True, stdout=out)
    call_command("try_policy", policy=candidate.version, days=DAYS, stdout=text)

    assert trial.status == PolicyTrial.Status.FINISHED
    document, result = json.loads(out.getvalue()), trial.result
    assert set(document) - set(result) == {"candidate", "baseline"}
    same = set(document) & set(result) - {"queue"}  # a rate depends on the second
    assert {name: document[name] for name in same} == {name: result[name] for name in same}
    assert document["queue"]["images"] == result["queue"]["images"]
    assert "Wrong approvals, by audits alone" in text.getvalue()
    assert result["changed"]["bias"] in text.getvalue()


def test_unknown_version_and_empty_window_are_sentences(lead: User) -> None:
    with pytest.raises(CommandError, match="There is no version 77 of the policy"):
        call_command("try_policy", policy=77)
    with pytest.raises(CommandError, match="There are no images of the last 30 days"):
        call_command("try_policy", policy=1)


def test_a_killed_worker_costs_one_step_and_no_image_is_counted_twice(
    small: tuple[Policy, Policy], lead: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "STEP", 20)
    baseline, candidate = small
    trial = trials.start(candidate=candidate, baseline=baseline, days=DAYS, user=lead)
    taken = trials.Replay.take_step
    steps = iter(range(100))

    def die_at_third(self: trials.Replay, cursor: int) -> int:
        if next(steps) == 3:
            raise KeyboardInterrupt
        return taken(self, cursor)

    monkeypatch.setattr(trials.Replay, "take_step", die_at_third)
    with pytest.raises(KeyboardInterrupt):
        trials.run_due(go_on=lambda: True)
    trial.refresh_from_db()
    assert (trial.status, trial.images > 0) == (PolicyTrial.Status.RUNNING, True)

    trials.run_due(go_on=lambda: True)
    trial.refresh_from_db()
    assert trial.status == PolicyTrial.Status.RUNNING  # the lease has not ended

    PolicyTrial.objects.update(due_at=timezone.now())
    trials.run_due(go_on=lambda: True)
    trial.refresh_from_db()
    assert trial.status == PolicyTrial.Status.FINISHED
    assert trial.result["policy"] == compute(small)["policy"]
    assert trial.result["kept"] == compute(small)["kept"]


def test_a_draft_that_is_edited_meanwhile_does_not_change_its_trial(
    small: tuple[Policy, Policy], lead: User
) -> None:
    baseline, candidate = small
    before = compute(small)["policy"]
    trial = trials.start(candidate=candidate, baseline=baseline, days=DAYS, user=lead)

    candidate.rules.update(review_at=1, blur_at=2, reject_at=3)
    moderation.tasks.try_policies()

    trial.refresh_from_db()
    assert trial.result["policy"] == before != compute(small)["policy"]


def test_cancelled_trial_ends_without_a_result(
    small: tuple[Policy, Policy], lead: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "STEP", 20)
    baseline, candidate = small
    trial = trials.start(candidate=candidate, baseline=baseline, days=DAYS, user=lead)
    with pytest.raises(TrialError, match="is running"):
        trials.start(candidate=candidate, baseline=baseline, days=DAYS, user=lead)
    calls = iter([True, False])
    trials.run_due(go_on=lambda: next(calls, False))

    trial_runs.cancel(trial)
    moderation.tasks.try_policies()

    trial.refresh_from_db()
    assert (trial.status, trial.result, trial.counts) == (PolicyTrial.Status.CANCELLED, {}, {})
    assert trial.sample["images"] > 0


def test_a_trial_that_always_kills_its_worker_is_given_up(
    small: tuple[Policy, Policy], lead: User
) -> None:
    baseline, candidate = small
    trial = trials.start(candidate=candidate, baseline=baseline, days=DAYS, user=lead)
    PolicyTrial.objects.update(attempts=trial_runs.ATTEMPTS_MAX)

    moderation.tasks.try_policies()

    trial.refresh_from_db()
    assert trial.status == PolicyTrial.Status.FAILED
    assert "interrupted" in trial.error


def test_a_trial_changes_no_review(small: tuple[Policy, Policy]) -> None:
    before = list(Review.objects.order_by("pk").values())

    compute(small)

    assert list(Review.objects.order_by("pk").values()) == before
