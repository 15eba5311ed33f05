"""Effects of migrations on existing rows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.utils import timezone

from generation.models import Source
from moderation import demo, roles
from moderation.models import Label, Policy, PolicyActivation, Review
from moderation.models.found_categories import combine_bits
from moderation.services import policies
from tests.moderation.page_helpers import MakeReview, add_label, store_classification_summary
from tests.moderation.record_helpers import without_triggers

BEFORE = "0018"


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_migrations_fill_new_columns_of_existing_rows(make_review: MakeReview) -> None:
    scenario = make_review(source=Source.SCENARIO, external_id="asset_1")
    add_label(scenario, "violence", 50, classifier="scenario")
    add_label(scenario, "alcohol.use", 85)
    add_label(scenario, "gambling", 0)
    bare = make_review()
    store_classification_summary(scenario)
    first = Policy.objects.active()
    unused = policies.create_version(based_on=first, user=None)
    Policy.objects.filter(pk=unused.pk).update(trusted_silences=["local"], accepted_unchecked=[])
    Review.objects.update(policy=first)
    with without_triggers():
        PolicyActivation.objects.all().delete()
    overwritten = timezone.now() + timedelta(hours=1)
    Policy.objects.filter(pk=first.pk).update(activated_at=overwritten)

    auditors = Group.objects.get(name="auditor")
    auditors.permissions.remove(Permission.objects.get(codename="export_decision"))
    Group.objects.get(name="policy lead").delete()

    for names in ([BEFORE], []):
        call_command("migrate", "moderation", *names, verbosity=0)

    scenario.refresh_from_db()
    assert dict(Label.objects.values_list("category", "confidence")) == {
        "violence": None,
        "alcohol.use": 85,
        "gambling": 0,
    }
    confidences = {part[0]: part[1] for run in get_summary(scenario) for part in run["parts"]}
    assert confidences["violence"] is None
    assert confidences["alcohol.use"] == "85.00"
    assert scenario.found == combine_bits(["violence", "alcohol"])
    assert Review.objects.get(pk=bare.pk).found == 0
    first.refresh_from_db()
    assert [row.created_at for row in PolicyActivation.objects.filter(policy=first)] == [
        first.created_at
    ]
    assert first.activated_at == first.created_at
    assert dict(Policy.objects.values_list("pk", "approves_imports")) == {
        first.pk: True,
        unused.pk: False,
    }
    # A silent local detector covered all categories of such a policy.
    unused.refresh_from_db()
    assert (unused.trusted_silences, set(unused.accepted_unchecked)) == (
        ["local"],
        set(demo.ACCEPTED_UNCHECKED),
    )
    assert (first.trusted_silences, first.accepted_unchecked) == ([], [])
    assert not Policy.objects.filter(requires_full_coverage=True).exists()
    # The house has changed its roles, and that stays.
    codenames = set(auditors.permissions.values_list("codename", flat=True))
    assert "export_decision" not in codenames
    assert {"view_askrule", "view_hashlist", "view_review"} <= codenames
    assert not Group.objects.filter(name="policy lead").exists()


def test_new_database_has_the_permissions_of_the_table(db: None) -> None:
    for role, names in roles.ROLES.items():
        rows = Permission.objects.filter(group__name=role)
        given = rows.values_list("content_type__app_label", "codename")
        assert {f"{app}.{codename}" for app, codename in given} == set(names), role


def get_summary(review: Review) -> list[dict[str, Any]]:
    assert review.classification_summary is not None
    return review.classification_summary
