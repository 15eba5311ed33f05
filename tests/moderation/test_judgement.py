"""Figures on classifiers from the record, and trust that is earned and lost by them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Collection, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.utils import timezone

import moderation.tasks
from generation.models import Asset
from moderation.models import (
    Audit,
    Classification,
    Decision,
    EarnedTrust,
    JudgementReport,
    Policy,
    Review,
    Verdict,
)
from moderation.queues import QUEUES
from moderation.services import decisions, judgement, judgement_counts, policies
from moderation.services.truth import find_standing, map_decisions, map_watched, read_truth
from tests.moderation.page_helpers import ClientOf, MakeReview
from tests.moderation.reclassification_helpers import (
    MakeAsset,
    Steered,
    get_review,
    store,
    use_steered,
)
from tests.moderation.second_opinion_helpers import judge

pytestmark = pytest.mark.django_db
WAITING = QUEUES["waiting"]
MISSED = ["explicit.nudity"]


@pytest.fixture(autouse=True)
def _policy(settings: Any, lead: User, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use a policy that approves imports on the silence of the steered classifier."""
    use_steered(settings)
    settings.AUDIT_APPROVED_PERCENT = settings.AUDIT_REJECTED_PERCENT = Decimal(100)
    # The same draws in every run.
    monkeypatch.setattr(
        Decision,
        "compute_hash",
        lambda self, events=None: hashlib.sha256(b"%d" % self.sequence).hexdigest(),
    )
    draft = policies.create_version(
        based_on=Policy.objects.active(), user=lead, approves_imports=True
    )
    draft.rules.filter(category="explicit").update(reject_at=60)
    policies.activate(policy=draft, user=lead)
    judgement.add_reports()
    yield
    Steered.results.clear()


def run_judge() -> None:
    JudgementReport.objects.update(due_at=timezone.now())
    moderation.tasks.judge()


def find_row(category: str, days: int = 90, version: str = "1") -> dict[str, Any]:
    document = JudgementReport.objects.get(days=days).document
    (row,) = [
        row
        for row in document["figures"]
        if (row["category"], row["version"], row["classifier"]) == (category, version, "steered")
    ]
    return dict(row)


def answer_audits(user: User, missed: Collection[int] = ()) -> None:
    """Answer all audits from the ordinary queue; assets in ``missed`` show nudity."""
    while review := decisions.claim_next(user=user, queue=WAITING):
        is_missed = review.asset_id in missed
        decisions.decide(
            review=review,
            user=user,
            verdict=Verdict.REJECT if is_missed else Verdict.APPROVE,
            categories=MISSED if is_missed else [],
        )


def trust(lead: User, percent: str, **fields: Any) -> Policy:
    """Put a policy into force that trusts silence on "explicit" only while it is measured."""
    draft = policies.create_version(based_on=Policy.objects.active(), user=lead)
    EarnedTrust.objects.create(
        policy=draft,
        classifier="steered",
        category="explicit",
        misses_max=Decimal(percent),
        **fields,
    )
    return policies.activate(policy=draft, user=lead).policy


# --- Trust, end to end ---
def test_planted_misses_are_estimated_and_take_the_trust_away(
    make_asset: MakeAsset, moderator: User, lead: User, settings: Any
) -> None:
    settings.AUDIT_APPROVED_PERCENT = Decimal(50)
    for _ in range(150):
        store(make_asset)
    answer_audits(moderator)
    run_judge()
    trust(lead, "3.5")
    trusted = get_review(store(make_asset))

    assert trusted.status == "approved"
    assert "“Nothing found” of Steered has earned trust" in trusted.reason
    assert find_row("explicit")["miss_rate"]["value"] == 0

    assets = [store(make_asset) for _ in range(149)]
    missed = {asset.pk for number, asset in enumerate(assets) if number % 17 == 0}
    answer_audits(moderator, missed)
    run_judge()
    doubted = get_review(store(make_asset))

    planted = len(missed) / 300
    found = find_row("explicit")["miss_rate"]
    assert planted == 0.03
    assert found["low"] <= planted <= found["high"]
    assert 120 < found["n"] < 180
    assert doubted.status == "pending"
    assert "has not earned trust: its misses of Explicit are up to" in doubted.reason


def earn_trust(make_asset: MakeAsset, moderator: User, lead: User) -> Policy:
    for _ in range(30):
        store(make_asset)
    answer_audits(moderator)
    run_judge()
    return trust(lead, "5")


def test_trust_expires_with_old_figures_and_with_a_new_version(
    make_asset: MakeAsset, moderator: User, lead: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    earn_trust(make_asset, moderator, lead)
    assert get_review(store(make_asset)).status == "approved"

    monkeypatch.setattr(Steered, "version", "2")
    renewed = get_review(store(make_asset))
    monkeypatch.setattr(Steered, "version", "1")
    JudgementReport.objects.update(computed_at=timezone.now() - timedelta(hours=25))
    stale = get_review(store(make_asset))

    for review in (renewed, stale):
        assert review.status == "pending"
        assert "its misses of Explicit are not known, 5.00 % allowed" in review.reason


def test_trust_expires_when_the_audits_have_left_the_window(
    make_asset: MakeAsset, moderator: User, lead: User
) -> None:
    earn_trust(make_asset, moderator, lead)
    Audit.objects.update(created_at=timezone.now() - timedelta(days=91))

    run_judge()

    assert get_review(store(make_asset)).status == "pending"


def test_new_version_earns_trust_on_images_audited_before(
    make_asset: MakeAsset, moderator: User, lead: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    earn_trust(make_asset, moderator, lead)
    monkeypatch.setattr(Steered, "version", "2")
    Classification.objects.bulk_create(
        Classification(asset=asset, classifier="steered", version="2", due_at=timezone.now())
        for asset in Asset.objects.all()
    )
    moderation.tasks.classify()

    run_judge()

    assert get_review(store(make_asset)).status == "approved"


def test_copy_of_a_policy_keeps_its_earned_trust(lead: User) -> None:
    before = trust(lead, "1.5", days=30)

    copy = policies.create_version(based_on=before, user=lead)

    (row,) = copy.earned_trusts.all()
    assert (row.classifier, row.category, row.misses_max, row.days) == (
        "steered",
        "explicit",
        Decimal("1.5"),
        30,
    )


@pytest.mark.parametrize(("percent", "saved"), [("1.5", True), ("0", False), ("101", False)])
def test_lead_adds_earned_trust_in_the_admin_site(
    client_of: ClientOf, lead: User, percent: str, saved: bool
) -> None:
    draft = policies.create_version(based_on=Policy.objects.active(), user=lead)
    browser, address = client_of(lead), f"/admin/moderation/policy/{draft.pk}/change/"
    form = browser.get(address).context
    data: dict[str, Any] = {}
    for each in form["adminform"].form:
        data[each.html_name] = each.value()
    for inline in form["inline_admin_formsets"]:
        formset = inline.formset
        for part in (formset.management_form, *formset.initial_forms):
            data |= {each.html_name: each.value() for each in part}
    data |= {
        "earned_trusts-TOTAL_FORMS": 1,
        "earned_trusts-0-classifier": "steered",
        "earned_trusts-0-category": "explicit",
        "earned_trusts-0-misses_max": percent,
        "earned_trusts-0-days": 30,
    }

    answer = browser.post(address, {key: value for key, value in data.items() if value is not None})

    assert answer.status_code == (302 if saved else 200)
    rows = draft.earned_trusts.values_list("classifier", "category", "misses_max", "days")
    assert list(rows) == ([("steered", "explicit", Decimal(percent), 30)] if saved else [])


# --- Figures ---
def test_influenced_decisions_are_kept_out_of_blind_figures(
    make_asset: MakeAsset, moderator: User
) -> None:
    for number in range(40):
        review = get_review(store(make_asset, 40))
        decisions.claim(review=review, user=moderator)
        decisions.decide(
            review=review,
            user=moderator,
            verdict=Verdict.REJECT if number % 4 else Verdict.APPROVE,
            categories=MISSED if number % 4 else [],
        )

    run_judge()

    row = find_row("explicit")
    assert row["precision_influenced"]["value"] == 0.75
    assert row["precision_influenced"]["n"] == 40
    assert row["precision"] == {"value": None, "low": None, "high": None, "n": 0}
    assert row["miss_rate"]["value"] is None
    assert row["recall"]["value"] is None
    assert row["calibration"]["ece"] is None


def test_audits_of_rejections_give_blind_precision_and_calibration(
    make_asset: MakeAsset, moderator: User
) -> None:
    wrong = set()
    for number in range(32):
        asset = store(make_asset, 90)
        if number % 4 == 0:
            wrong.add(asset.pk)
    everything = set(Asset.objects.values_list("pk", flat=True))
    answer_audits(moderator, everything - wrong)

    run_judge()

    row = find_row("explicit")
    assert (row["precision"]["value"], row["precision"]["n"]) == (0.75, 32)
    assert row["calibration"]["ece"] == pytest.approx(0.15)
    assert row["calibration"]["n"] == 32


def test_fewer_images_than_thirty_are_not_known(make_asset: MakeAsset, moderator: User) -> None:
    for _ in range(29):
        store(make_asset)
    answer_audits(moderator)

    run_judge()

    assert find_row("explicit")["miss_rate"] == {
        "value": None,
        "low": None,
        "high": None,
        "n": 29,
    }
    assert JudgementReport.objects.get(days=90).bounds == {}


def test_category_that_the_policy_does_not_watch_is_unknown(
    make_asset: MakeAsset, moderator: User
) -> None:
    Policy.objects.active().rules.filter(category="alcohol").delete()
    for _ in range(30):
        store(make_asset)
    answer_audits(moderator)
    run_judge()

    categories = {
        row["category"] for row in JudgementReport.objects.get(days=90).document["figures"]
    }

    assert "explicit" in categories
    assert not {slug for slug in categories if slug.startswith("alcohol")}


def test_two_versions_are_compared_on_the_same_images(
    make_asset: MakeAsset, moderator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = [store(make_asset) for _ in range(8)]
    answer_audits(moderator, {asset.pk for asset in assets})
    monkeypatch.setattr(Steered, "version", "2")
    Steered.results.update(dict.fromkeys((asset.pk for asset in assets), 80))
    Classification.objects.bulk_create(
        Classification(asset=asset, classifier="steered", version="2", due_at=timezone.now())
        for asset in assets
    )
    moderation.tasks.classify()

    run_judge()

    (row,) = [
        row
        for row in JudgementReport.objects.get(days=90).document["comparisons"]
        if row["category"] == "explicit"
    ]
    assert (row["first"], row["second"], row["only_first"], row["only_second"]) == ("1", "2", 0, 8)
    assert row["p_value"] == pytest.approx(2 / 2**8)


def test_kappa_of_two_people_stands_beside_the_figures(
    make_asset: MakeAsset, moderator: User, other_moderator: User, settings: Any
) -> None:
    settings.SECOND_OPINION_PERCENT = 100
    for number in range(30):
        review = get_review(store(make_asset, 40))
        for person in (moderator, other_moderator):
            decisions.claim(review=review, user=person)
            decisions.decide(
                review=review,
                user=person,
                verdict=Verdict.REJECT if number % 2 else Verdict.APPROVE,
                categories=MISSED if number % 2 else [],
            )

    run_judge()

    kappa = find_row("explicit")["kappa"]
    assert (kappa["value"], kappa["n"]) == (1.0, 30)
    assert kappa["low"] < 0.95


def test_interrupted_computation_continues_and_gives_the_same(
    make_asset: MakeAsset, moderator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for result in (0, 0, 0, 40, 90):
        store(make_asset, result)
    answer_audits(moderator)
    run_judge()
    whole = JudgementReport.objects.get(days=90).document
    monkeypatch.setattr(judgement, "BATCH", 1)

    JudgementReport.objects.exclude(days=90).delete()
    rounds = 0
    while not rounds or JudgementReport.objects.get().progress:
        JudgementReport.objects.update(due_at=timezone.now())
        answers = iter([True, False])
        judgement.run_due(go_on=lambda answers=answers: next(answers, False))
        rounds += 1

    again = JudgementReport.objects.get().document
    moving = ("since", "until")
    assert {key: value for key, value in again.items() if key not in moving} == {
        key: value for key, value in whole.items() if key not in moving
    }
    assert rounds > 5


# --- Truth ---
def read(review: Review) -> tuple[bool | None, bool | None]:
    """Return whether the image shows nudity, and whether it shows violence."""
    standing = find_standing(map_decisions([review.pk])[review.pk])
    truth = read_truth(standing, map_watched())
    return truth.shows("explicit.nudity"), truth.shows("violence.weapons")


def test_rejection_says_nothing_about_other_categories(
    make_review: MakeReview, moderator: User
) -> None:
    review = make_review()
    judge(review, moderator, "reject")

    assert read(review) == (None, True)


def test_approval_says_that_no_watched_category_is_there(
    make_review: MakeReview, moderator: User
) -> None:
    review = make_review()
    approval = judge(review, moderator, "approve")
    assert read(review) == (False, False)

    decisions.reverse(decision=approval, user=moderator)
    assert read(review) == (None, None)


def test_escalation_and_disagreement_are_no_truth(
    make_review: MakeReview,
    moderator: User,
    other_moderator: User,
    senior: User,
    settings: Any,
) -> None:
    settings.SECOND_OPINION_PERCENT = 100
    escalated, disputed = make_review(), make_review()
    judge(escalated, moderator, "escalate")
    judge(disputed, moderator, "reject")
    assert read(disputed) == (None, True)
    judge(disputed, other_moderator, "approve")

    assert [read(escalated), read(disputed)] == [(None, None), (None, None)]
    judge(disputed, senior, "approve")
    assert read(disputed) == (False, False)


def test_answer_to_an_audit_is_the_truth_and_a_senior_may_correct_it(
    make_asset: MakeAsset, moderator: User, senior: User
) -> None:
    review = get_review(store(make_asset))
    assert read(review) == (None, None)
    judge(review, moderator, "reject")
    assert read(review) == (None, True)

    judge(review, senior, "approve")

    assert read(review) == (False, False)


# --- Files and the command ---
def test_figures_are_served_as_json_and_csv(
    make_asset: MakeAsset, client_of: ClientOf, moderator: User, auditor: User
) -> None:
    for _ in range(30):
        store(make_asset)
    answer_audits(moderator)
    run_judge()
    browser = client_of(auditor)

    document = browser.get("/judgement.json?days=30").json()
    lines = list(csv.DictReader(io.StringIO(browser.get("/judgement.csv").content.decode())))

    assert document["audits"] == {"drawn": 30, "answered": 30}
    assert document["is_stale"] is False
    assert {line["days"] for line in lines} == {"90"}
    (line,) = [
        line for line in lines if (line["category"], line["figure"]) == ("explicit", "miss_rate")
    ]
    assert (line["value"], line["n"]) == ("0", "30")
    assert browser.get("/judgement.json?days=8").status_code == 400
    assert client_of(moderator).get("/judgement.json").status_code == 403


def test_command_prints_figures_and_their_absence(make_asset: MakeAsset, moderator: User) -> None:
    def read_command(**options: Any) -> str:
        out = io.StringIO()
        call_command("judge_report", stdout=out, **options)
        return out.getvalue()

    assert read_command() == "No figures yet. The worker computes them once an hour.\n"
    assert read_command(format="csv").splitlines() == [
        "classifier,version,category,figure,value,low,high,n,days,since,until,policy"
    ]
    for _ in range(30):
        store(make_asset)
    answer_audits(moderator)
    run_judge()

    text = read_command(days=7)
    assert "Audits: 30 of 30 answered." in text
    assert "Steered 1, Explicit\n  Misses among “nothing found”: 0.0000 (0.0000 to" in text
    assert json.loads(read_command(format="json"))["days"] == 90
    assert judgement_counts.SEPARATOR not in text
