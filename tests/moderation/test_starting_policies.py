"""Starting policies: each sentence, proven by the real engine on the classifiers' real coverage."""

from __future__ import annotations

import io
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.models.signals import post_migrate
from django.test import Client
from django.utils.html import escape

from moderation import classifiers, taxonomy
from moderation.classifiers import nanogpt, nudenet, opennsfw, vlm
from moderation.classifiers.base import Coverage
from moderation.classifiers.novita import NovitaDetection
from moderation.classifiers.vision import classifier
from moderation.models import AskRule, EarnedTrust, Policy, PolicyActivation, PolicyRule
from moderation.policy_engine import Evidence, Outcome, Rules, settle
from moderation.services import policies, starting_policies
from moderation.services.classification import build_rules
from moderation.services.starting_policies import DEFAULTS, STARTING_POLICIES

FULL = {category.slug: Coverage.FULL for category in taxonomy.L1}
PARTIAL = dict.fromkeys(FULL, Coverage.PARTIAL)  # Rekognition on drawings
Finding = tuple[str, int | None]


def judge(slug: str, covers: Any, *findings: Finding, **fields: Any) -> Evidence:
    numbers = [(name, None if at is None else Decimal(at)) for name, at in findings]
    return Evidence(
        label=classifiers.label(slug),
        classifier=slug,
        covers=covers,
        findings=numbers,
        silence_counts=classifiers.silence_counts(slug),
        **fields,
    )


def score(number: int, level: int = 2) -> Evidence:
    covers = NovitaDetection().covers(level)
    return judge("novita", covers, score=Decimal(number), score_level=level)


def use(slug: str) -> Rules:
    starting_policies.put_into_force(STARTING_POLICIES[slug], user=None)
    return build_rules(Policy.objects.active())


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("slug", "evidence", "outcome"),
    [
        ("novita", [score(0)], Outcome.PERSON),
        ("novita", [score(100)], Outcome.PERSON),
        ("novita-nanogpt", [score(0), judge("nanogpt", nanogpt.COVERS)], Outcome.PERSON),
        (
            "novita-nanogpt",
            [score(100, 0), judge("nanogpt", nanogpt.COVERS, flagged=True)],
            Outcome.PERSON,
        ),
        ("rekognition", [judge("rekognition", FULL)], Outcome.APPROVE),
        ("rekognition", [judge("rekognition", PARTIAL)], Outcome.PERSON),
        ("rekognition", [judge("rekognition", FULL, ("explicit.nudity", 95))], Outcome.REJECT),
        ("rekognition", [judge("rekognition", FULL, ("explicit.nudity", 94))], Outcome.PERSON),
        ("rekognition", [judge("rekognition", FULL, ("explicit", 99))], Outcome.PERSON),
        ("rekognition", [judge("rekognition", FULL, ("hate-symbols.nazi", 95))], Outcome.REJECT),
        ("rekognition", [judge("rekognition", FULL, ("violence.graphic", 100))], Outcome.PERSON),
        ("vlm", [judge("vlm", vlm.COVERS)], Outcome.PERSON),
        ("vlm", [judge("vlm", vlm.COVERS, ("explicit.nudity", None))], Outcome.PERSON),
        ("vlm", [judge("vision", classifier.COVERS, ("explicit.nudity", 99))], Outcome.PERSON),
        ("vlm", [judge("vision", classifier.COVERS)], Outcome.PERSON),
        ("local", [judge("local", nudenet.COVERS)], Outcome.PERSON),
        ("local", [judge("local", nudenet.COVERS, ("explicit.nudity", 95))], Outcome.REJECT),
        ("local", [judge("local", nudenet.COVERS, ("explicit.nudity", 94))], Outcome.PERSON),
        ("local", [judge("opennsfw", opennsfw.COVERS, ("explicit", 99))], Outcome.PERSON),
        ("local", [judge("opennsfw", opennsfw.COVERS)], Outcome.PERSON),
    ],
)
def test_starting_policy_settles_what_its_summary_says(
    slug: str, evidence: list[Evidence], outcome: Outcome
) -> None:
    settlement = settle(use(slug), evidence)

    assert settlement.outcome is outcome
    assert set(settlement.categories) <= taxonomy.list_reject_reasons()


@pytest.mark.django_db
@pytest.mark.parametrize("slug", STARTING_POLICIES)
def test_imported_files_and_silent_line_ups_are_left_to_people(slug: str) -> None:
    assert settle(use(slug), [judge("rekognition", FULL)], imported=True).outcome is Outcome.PERSON


@pytest.mark.parametrize(
    ("active", "providers", "slug"),
    [
        (["novita"], ["novita"], "novita"),
        (["novita", "nanogpt", "local"], ["novita"], "novita-nanogpt"),
        (["novita", "rekognition", "vlm"], ["novita"], "rekognition"),
        (["novita", "vlm"], [], "vlm"),
        (["novita", "local"], [], "local"),
        (["novita", "opennsfw", "hashes"], [], "local"),
        # An image-text model was not measured: its confidences must not reject.
        (["vision", "local", "opennsfw"], [], "vlm"),
        (["novita", "sandbox"], [], None),
    ],
)
def test_suggestion_follows_the_configured_classifiers(
    settings: Any, active: list[str], providers: list[str], slug: str | None
) -> None:
    settings.CLASSIFIERS, settings.IMAGE_PROVIDERS = active, dict.fromkeys(providers)

    found = starting_policies.suggest()

    assert (found.slug if found else None) == slug


@pytest.mark.django_db
def test_command_lists_shows_and_uses_starting_policies() -> None:
    before = Policy.objects.active()
    texts = []
    for options in (["--list"], ["--show", "rekognition"], ["--use", "rekognition"]):
        out = io.StringIO()
        call_command("starting_policy", *options, stdout=out)
        texts.append(out.getvalue())

    summary = STARTING_POLICIES["rekognition"].summary
    assert all(summary in text for text in texts)
    assert all(policy.summary in texts[0] for policy in STARTING_POLICIES.values())
    assert "explicit.nudity: review from 20, reject from 95" in texts[1]
    made = Policy.objects.active()
    assert (made.version, made.summary) == (before.version + 1, summary)
    assert PolicyActivation.objects.filter(policy=made).count() == 1
    before.refresh_from_db()
    assert (before.name, before.is_active) == ("Starting policy", False)
    with pytest.raises(CommandError, match="invalid choice"):
        call_command("starting_policy", "--use", "nothing")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("first", "sandbox", "name"),
    [
        ("0003_roles_and_first_policy", False, "Vision model"),
        ("0003_roles_and_first_policy", True, "Starting policy"),
        # An existing database: the first policy is not in the plan.
        ("0004_gateway", False, "Starting policy"),
    ],
)
def test_only_a_new_database_gets_the_policy_of_its_line_up(
    settings: Any, first: str, sandbox: bool, name: str
) -> None:
    settings.CLASSIFIERS, settings.IMAGE_PROVIDERS = ["novita", "vlm"], {}
    settings.SANDBOX = sandbox
    migration = MigrationLoader(connection).get_migration("moderation", first)
    config = apps.get_app_config("moderation")

    post_migrate.send(
        sender=config,
        app_config=config,
        plan=[(migration, False)],
        verbosity=0,
        interactive=False,
        using="default",
        apps=apps,
    )

    assert Policy.objects.active().name == name


def test_every_policy_field_has_a_value_in_starting_policies() -> None:
    assert {*DEFAULTS, "name", "note"} == set(policies.list_settings())
    for chosen in STARTING_POLICIES.values():
        assert set(chosen.fields) <= set(DEFAULTS)
        # A new kind of limit needs a decision too; none blurs.
        assert all(
            rule.review_at is not None and rule.blur_at is None for rule in chosen.rules.values()
        )
    limits = {field.name for field in PolicyRule._meta.concrete_fields} - {"id", "policy"}
    assert limits == {"category", "review_at", "blur_at", "reject_at"}


@pytest.mark.django_db
@pytest.mark.parametrize("slug", STARTING_POLICIES)
def test_starting_policy_takes_nothing_over_from_the_policy_in_force(slug: str) -> None:
    chosen = STARTING_POLICIES[slug]
    other = {
        name: not value if isinstance(value, bool) else ["local"] if value == [] else 2
        for name, value in DEFAULTS.items()
    }
    other |= {"accepted_unchecked": ["violence"], "nsfw_review_at": 60, "nsfw_reject_at": 80}
    assert not any(other[name] == value for name, value in DEFAULTS.items())
    busy = policies.create_version(based_on=Policy.objects.active(), user=None, rules={}, **other)
    AskRule.objects.create(policy=busy, classifier="vlm", share=50)
    EarnedTrust.objects.create(policy=busy, classifier="vlm", category="alcohol", misses_max=5)
    policies.activate(policy=busy, user=None)

    made = starting_policies.create(chosen, user=None)

    made.refresh_from_db()
    assert {name: getattr(made, name) for name in DEFAULTS} == {**DEFAULTS, **chosen.fields}
    assert (made.name, made.summary, made.is_active) == (chosen.name, chosen.summary, False)
    assert made.rules.count() == len(chosen.rules)
    assert (made.ask_rules.count(), made.earned_trusts.count()) == (0, 0)


@pytest.mark.django_db
def test_lead_creates_a_version_from_a_starting_policy(
    lead: User, client_of: Callable[[User], Client]
) -> None:
    browser, active = client_of(lead), Policy.objects.active()
    page = browser.get("/policies/").content.decode()
    assert all(escape(policy.summary) in page for policy in STARTING_POLICIES.values())

    answer = browser.post("/policies/drafts/", {"start": "rekognition"}, follow=True)

    made = Policy.objects.get(version=active.version + 1)
    assert answer.redirect_chain == [(made.get_absolute_url(), 303)]
    assert "It is not in force." in answer.content.decode()
    assert (made.name, made.created_by, made.requires_full_coverage) == ("Rekognition", lead, True)
    assert Policy.objects.active() == active


@pytest.mark.django_db
def test_auditor_cannot_create_from_a_starting_policy(
    auditor: User, client_of: Callable[[User], Client]
) -> None:
    browser = client_of(auditor)

    assert "Start from" not in browser.get("/policies/").content.decode()
    assert browser.post("/policies/drafts/", {"start": "vlm"}).status_code == 403
    assert Policy.objects.count() == 1


def read_coverage_table() -> dict[str, list[str]]:
    """Return the cells of the coverage table of the documentation by category."""
    page = (Path(settings.BASE_DIR) / "docs" / "classifiers.md").read_text()
    lines = page.split("| category | Novita's detection |")[1].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def describe_novita(slug: str) -> str:
    level = next((n for n in taxonomy.LEVELS if slug in NovitaDetection().covers(n)), None)
    return {None: "–", 0: "full"}.get(level, f"full from level {level}")


def test_documentation_states_the_coverage_of_each_classifier() -> None:
    table = read_coverage_table()
    both = {"explicit": Coverage.PARTIAL, "violence": Coverage.PARTIAL}
    columns = [nanogpt.COVERS, both, FULL, vlm.COVERS, nudenet.COVERS, opennsfw.COVERS]

    assert vlm.COVERS == classifier.COVERS
    assert table == {
        category.name: [
            describe_novita(category.slug),
            *(str(covers.get(category.slug, "–")) for covers in columns),
        ]
        for category in taxonomy.L1
    }
