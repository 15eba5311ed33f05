"""Ask rules: a policy decides whether nano-gpt's sandbox is asked, over a socket."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.test import Client

import moderation.tasks
from generation.models import Asset, Source
from moderation import classifiers, taxonomy
from moderation.classifiers.base import Assessment, ClassifierError, Coverage, Finding, Stage
from moderation.models import AskRule, Chore, Classification, HashList, Policy, Review
from moderation.services import asking, classification, hash_lists, housekeeping, policies
from tests.moderation.classifiers.nanogpt.helpers import make_image, run_remote_classification

pytestmark = pytest.mark.django_db(transaction=True)
Status = Classification.Status
ClientOf = Callable[[User], Client]
MakeAsset = Callable[..., Asset]
FULL = {category.slug: Coverage.FULL for category in taxonomy.L1}


class Worded:
    """A local classifier whose result is the name of the file."""

    slug, label, version, trusted_when_silent = "worded", "Worded", "1", True

    def applies_to(self, asset: Asset) -> bool:
        return True

    def classify(self, asset: Asset) -> Assessment:
        word = asset.original_name
        if word == "fail":
            raise ClassifierError("The worded classifier fails.")
        if word == "unscored":
            return Assessment(findings=(Finding(category="violence", confidence=None),))
        found = [Finding(category="explicit", confidence=Decimal(word))] if int(word) else []
        return Assessment(findings=tuple(found), covers=FULL)


@pytest.fixture(autouse=True)
def _two_stages(calls: list[int], settings: Any) -> None:
    path = f"{__name__}.Worded"
    settings.CLASSIFIER_BACKENDS = {**settings.CLASSIFIER_BACKENDS, "worded": path}
    settings.CLASSIFIERS = ["worded", "nanogpt"]


def set_rule(classifier: str = "nanogpt", **conditions: Any) -> Policy:
    """Put a policy with one rule into force."""
    policy = policies.create_version(based_on=Policy.objects.active(), user=None)
    policy.ask_rules.all().delete()
    rule = AskRule(policy=policy, classifier=classifier, **conditions)
    rule.full_clean()
    rule.save()
    return policies.activate(policy=policy, user=None).policy


def store(make_asset: MakeAsset, word: str, seed: int = 1, **origin: Any) -> Asset:
    return make_asset(make_image(seed=seed), original_name=word, **origin)


def get_run(asset: Asset, classifier: str = "nanogpt") -> Classification:
    return asset.classifications.get(classifier=classifier)


def run_jobs() -> None:
    for _ in range(2):
        moderation.tasks.classify()
        run_remote_classification()


# --- Images that are asked about ---
def test_classifier_without_rule_runs_at_once(make_asset: MakeAsset) -> None:
    asset = store(make_asset, "0")

    assert not Classification.objects.held().exists()
    assert asset.classifications.filter(due_at__isnull=False).count() == 2


@pytest.mark.parametrize(
    ("word", "status"),
    [("29", "skipped"), ("30", "done"), ("0", "skipped"), ("fail", "done"), ("unscored", "done")],
)
def test_minimum_score_decides_and_doubt_asks(
    make_asset: MakeAsset, calls: list[int], word: str, status: str
) -> None:
    set_rule(asks_from=30)
    asset = store(make_asset, word)

    assert get_run(asset).is_held
    run_remote_classification()
    assert calls == []
    run_jobs()

    run = get_run(asset)
    assert (run.status, run.due_at, calls) == (status, None, [1] if status == "done" else [])
    assert run.finished_at is not None
    assert Review.objects.get().status != Review.Status.CLASSIFYING


def test_file_that_is_blocked_while_a_local_classifier_runs_is_not_sent(
    make_asset: MakeAsset, calls: list[int], settings: Any
) -> None:
    settings.CLASSIFIERS = ["hashes", "worded", "nanogpt"]
    set_rule(asks_from=30)
    asset = store(make_asset, "fail")  # in doubt, so the rule would ask
    hash_lists.import_entries(
        hash_list=HashList.objects.create(name="Exchange"),
        content=f"hash,algorithm,category\n{asset.sha256},sha256,explicit.nudity\n".encode(),
    )

    run_jobs()

    assert (get_run(asset).status, calls) == (Status.SKIPPED, [])
    assert "rejects the image without it: On the block list" in get_run(asset).error
    assert Review.objects.get().status == Review.Status.REJECTED


def test_held_classifier_is_shown_as_waiting_and_not_as_running(
    make_asset: MakeAsset, calls: list[int], moderator: User, client_of: ClientOf
) -> None:
    set_rule(asks_from=30)
    review = Review.objects.get(asset=store(make_asset, "30"))
    address = review.get_absolute_url()

    held = client_of(moderator).get(address).content.decode()
    moderation.tasks.classify()
    released = client_of(moderator).get(address).content.decode()

    assert "Waits for Worded: the policy asks it only on conditions." in held
    assert "Not every classifier has finished yet." in held
    assert (held.count(">Running<"), held.count('"badge">Waiting<')) == (1, 1)
    assert (released.count(">Running<"), released.count('"badge">Waiting<')) == (1, 0)


def test_rejected_image_is_not_sent_to_the_remote_classifier(
    make_asset: MakeAsset, calls: list[int], moderator: User, client_of: ClientOf
) -> None:
    set_rule(skips_rejected=True)
    rejected, doubtful = store(make_asset, "95", 1), store(make_asset, "50", 2)

    run_jobs()

    review = Review.objects.get(asset=rejected)
    assert (review.status, get_run(rejected).status) == (Review.Status.REJECTED, Status.SKIPPED)
    assert get_run(rejected).error.startswith("Policy version 2 rejects the image without it:")
    assert (get_run(doubtful).status, calls) == (Status.DONE, [1])
    page = client_of(moderator).get(review.get_absolute_url()).content.decode()
    assert "Not asked" in page
    assert "rejects the image without it: Worded found" in page


def test_rule_for_sources_skips_the_others(make_asset: MakeAsset, calls: list[int]) -> None:
    set_rule(sources=[Source.SCENARIO])
    upload = store(make_asset, "0", 1)
    scenario = store(make_asset, "0", 2, source=Source.SCENARIO, external_id="asset_1")

    run_jobs()

    assert get_run(upload).error == (
        "Policy version 2 asks it only about images of the source Scenario."
    )
    assert (get_run(scenario).status, calls) == (Status.DONE, [1])


def test_share_is_drawn_by_the_image_alone() -> None:
    uuids = [uuid.UUID(int=number) for number in range(2_000)]

    drawn = [asking.draw(value) for value in uuids]

    assert drawn == [asking.draw(value) for value in uuids]
    assert set(drawn) == set(range(100))
    assert 400 < sum(number < 25 for number in drawn) < 600


@pytest.mark.parametrize(("share", "status"), [(0, "skipped"), (100, "done")])
def test_share_of_zero_asks_about_none_and_hundred_about_all(
    make_asset: MakeAsset, share: int, status: str
) -> None:
    set_rule(share=share)
    asset = store(make_asset, "0")

    run_jobs()

    assert get_run(asset).status == status


# --- Doubt and failures ---
def test_image_that_only_a_skipped_classifier_would_cover_goes_to_a_person(
    make_asset: MakeAsset, settings: Any, calls: list[int]
) -> None:
    settings.CLASSIFIERS = ["nanogpt"]
    policy = set_rule(share=0)
    Policy.objects.filter(pk=policy.pk).update(approves_imports=True)

    review = store(make_asset, "0").review

    assert (review.status, calls) == (Review.Status.PENDING, [])
    assert review.reason.startswith(
        "No classifier was asked. Policy version 2 asks it only about 0"
    )


def test_skipped_run_needs_a_rule_and_a_sentence(make_asset: MakeAsset) -> None:
    run = get_run(store(make_asset, "0"))

    with pytest.raises(IntegrityError), transaction.atomic():
        Classification.objects.filter(pk=run.pk).update(status=Status.SKIPPED, error="Because.")


def test_held_run_is_asked_if_the_policy_lost_its_rule(
    make_asset: MakeAsset, calls: list[int]
) -> None:
    first = Policy.objects.active()
    set_rule(share=0)
    asset = store(make_asset, "0")
    policies.activate(policy=first, user=None)

    run_jobs()

    assert (get_run(asset).status, calls) == (Status.DONE, [1])


def test_result_and_release_are_stored_together_or_not_at_all(
    make_asset: MakeAsset, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_rule(asks_from=30)
    asset = store(make_asset, "50")

    def die(*args: Any) -> str:
        raise KeyboardInterrupt  # as if the worker were stopped in between

    with monkeypatch.context() as patch:
        patch.setattr(asking, "explain_skip", die)
        with pytest.raises(KeyboardInterrupt):
            moderation.tasks.classify()
    assert (get_run(asset, "worded").status, get_run(asset).is_held) == (Status.QUEUED, True)

    Classification.objects.filter(classifier="worded").update(due_at=asset.created_at)
    run_jobs()

    assert (get_run(asset).status, calls) == (Status.DONE, [1])


def test_housekeeping_releases_a_run_that_waits_for_no_other(
    make_asset: MakeAsset, calls: list[int]
) -> None:
    set_rule(asks_from=30)
    stranded, waiting = store(make_asset, "50", 1), store(make_asset, "50", 2)
    Classification.objects.filter(asset=stranded, classifier="worded").update(
        status=Status.FAILED, error="It was ended by hand.", due_at=None
    )
    housekeeping.add_chores()

    housekeeping.run_due_chores(go_on=lambda: True)

    assert (get_run(stranded).is_held, get_run(waiting).is_held) == (False, True)
    assert Chore.objects.get(name="held classifications").error == ""
    run_remote_classification()
    assert (get_run(stranded).status, calls) == (Status.DONE, [1])


def test_second_release_does_not_ask_again(make_asset: MakeAsset, calls: list[int]) -> None:
    set_rule(asks_from=30)
    asset = store(make_asset, "50")
    moderation.tasks.classify()
    claimed = Classification.objects.filter(classifier="nanogpt").claim(
        limit=1, lease=moderation.tasks.remote_classification.LEASE
    )

    classification.settle_review(review=asset.review)
    assert classification.release_stranded(limit=10) == 0
    run_remote_classification()

    assert (len(claimed), calls, get_run(asset).lease) == (1, [], claimed[0].lease)


def test_every_classifier_has_a_stage(settings: Any) -> None:
    stages = {slug: classifiers.get_stage(slug) for slug in settings.CLASSIFIER_BACKENDS}

    assert {slug for slug in stages if slug in classifiers.remote()} == {
        slug for slug, stage in stages.items() if stage == Stage.REMOTE
    }
    assert classifiers.get_stage("removed") == Stage.REMOTE


# --- The policy's page ---
def post_rules(browser: Client, policy: Policy, *rules: dict[str, Any]) -> str:
    """Save a draft with these ask rules in the admin site; return the page."""
    url = f"/admin/moderation/policy/{policy.pk}/change/"
    page = browser.get(url)
    form, inlines = page.context["adminform"].form, page.context["inline_admin_formsets"]
    data = {name: "" if value is None else value for name, value in form.initial.items()}
    for inline in inlines:
        prefix = inline.formset.prefix
        rows = rules if inline.formset.model is AskRule else ()
        data |= {f"{prefix}-TOTAL_FORMS": len(rows), f"{prefix}-INITIAL_FORMS": 0}
        for number, row in enumerate(rows):
            data |= {f"{prefix}-{number}-{name}": value for name, value in row.items()}
    return browser.post(url, data, follow=True).content.decode()


def test_lead_edits_ask_rules_of_a_draft_and_a_copy_keeps_them(
    lead: User, client_of: ClientOf
) -> None:
    browser = client_of(lead)
    draft = policies.create_version(based_on=Policy.objects.active(), user=lead)

    refused = post_rules(browser, draft, {"classifier": "nanogpt"})
    unknown = post_rules(browser, draft, {"classifier": "novita", "share": 5})
    beyond = post_rules(browser, draft, {"classifier": "nanogpt", "share": 101})
    assert "Set at least one condition, or delete this rule" in refused
    assert "Select a valid choice" in unknown
    assert "less than or equal to 100" in beyond
    assert not AskRule.objects.exists()

    wanted = {"classifier": "nanogpt", "asks_from": "30", "sources": ["upload", "api"], "share": 50}
    post_rules(browser, draft, wanted)

    copy = policies.create_version(based_on=draft, user=lead)
    rule = copy.ask_rules.get()
    assert (rule.classifier, rule.asks_from, rule.skips_rejected, rule.sources, rule.share) == (
        "nanogpt",
        30,
        False,
        ["upload", "api"],
        50,
    )


def test_page_of_the_policy_in_force_shows_what_its_rules_saved(
    make_asset: MakeAsset, lead: User, client_of: ClientOf, settings: Any
) -> None:
    settings.NANOGPT = {**settings.NANOGPT, "base_url": "https://nano-gpt.example"}
    policy = set_rule(asks_from=30)
    for seed in range(3):
        store(make_asset, "0", seed)
    run_jobs()

    page = client_of(lead).get(f"/admin/moderation/policy/{policy.pk}/change/").content.decode()

    price = classifiers.list_price("nanogpt")
    assert "not asked about 3 images in the last 30 days, which saved" in page
    assert f"{3 * price:.2f} USD, at the list price of {price.normalize():f} USD an image" in page


def test_page_of_a_draft_estimates_what_its_rules_would_save(
    make_asset: MakeAsset, lead: User, client_of: ClientOf
) -> None:
    for seed, word in enumerate(("0", "0", "50", "fail")):
        store(make_asset, word, seed)
    run_jobs()
    draft = policies.create_version(based_on=Policy.objects.active(), user=lead)
    browser = client_of(lead)
    url = f"/admin/moderation/policy/{draft.pk}/change/"
    assert "No ask rule: every classifier is always asked." in browser.get(url).content.decode()

    AskRule.objects.create(policy=draft, classifier="nanogpt", asks_from=30)

    page = browser.get(url).content.decode()
    assert "of the newest 4 images of the last 30 days" in page
    assert "would not have been asked about 2, which would have saved 0 USD" in page


def test_rules_of_a_used_policy_cannot_be_changed(
    make_asset: MakeAsset, lead: User, client_of: ClientOf
) -> None:
    first, policy = Policy.objects.active(), set_rule(share=0)
    store(make_asset, "0")
    run_jobs()
    policies.activate(policy=first, user=None)

    answer = client_of(lead).post(f"/admin/moderation/policy/{policy.pk}/change/", {"name": "x"})

    assert answer.status_code == 403
    assert policy.ask_rules.count() == 1
