"""Policies: versions, activation and its history."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models.constraints import BaseConstraint
from django.test import Client, RequestFactory

from generation.core.admin import ReadOnlyInline
from moderation import classifiers
from moderation.models import AskRule, Policy, PolicyActivation, PolicyRule, SavedQueue
from moderation.services import policies

ClientOf = Callable[[User], Client]
LIST = "/admin/moderation/policy/"


def test_lead_copies_a_policy_and_the_admin_leads_to_its_page(
    lead: User, client_of: ClientOf
) -> None:
    browser, first = client_of(lead), Policy.objects.active()

    browser.post(LIST, {"action": "copy", "_selected_action": [first.pk]})

    second = Policy.objects.get(version=2)
    assert (second.created_by, second.is_active, second.rules.count()) == (
        lead,
        False,
        first.rules.count(),
    )
    page = browser.get(f"{LIST}{second.pk}/history/").content.decode()
    assert "Copied from version 1." in page
    assert 'href="/policies/2/"' in browser.get(f"{LIST}{second.pk}/change/").content.decode()
    assert 'href="/policies/"' in browser.get(LIST).content.decode()


def test_editing_the_policy_in_force_returns_403(lead: User, client_of: ClientOf) -> None:
    active = Policy.objects.active()

    answer = client_of(lead).post(f"{LIST}{active.pk}/change/", {"name": "forged", "nsfw_level": 2})

    assert answer.status_code == 403
    assert Policy.objects.active().name == active.name


def test_auditor_can_view_policies(auditor: User, client_of: ClientOf) -> None:
    second = policies.create_version(based_on=Policy.objects.active(), user=None)

    assert client_of(auditor).get(f"{LIST}{second.pk}/change/").status_code == 200


def test_reactivated_policy_keeps_its_first_activation_time(
    lead: User, client_of: ClientOf
) -> None:
    first = Policy.objects.active()
    second = policies.create_version(based_on=first, user=lead)
    since = first.activated_at
    for policy in (second, first):
        policies.activate(policy=policy, user=lead)

    first.refresh_from_db()
    activations = PolicyActivation.objects.filter(policy=first).order_by("pk")
    assert first.activated_at == since
    assert first.last_activated_at == activations.last().created_at
    assert len(activations) == 2
    browser = client_of(lead)
    page = browser.get(f"{LIST}{first.pk}/change/").content.decode()
    assert "First put into force" in page
    assert "Last put into force" in page
    assert (
        f'first in force <time class="num" datetime="{since:%Y-%m-%d}'
        in browser.get("/").content.decode()
    )


def fill_form(browser: Client, policy: Policy, **changes: Any) -> dict[str, Any]:
    """Return the data of a policy's form, without its rules, with changes."""
    page = browser.get(f"{LIST}{policy.pk}/change/")
    form, inlines = page.context["adminform"].form, page.context["inline_admin_formsets"]
    data = {
        name: value
        for name, value in form.initial.items()
        if value is not None and value is not False and name in form.fields
    }
    for inline in inlines:
        management = inline.formset.management_form
        data |= {f"{management.prefix}-{name}": value for name, value in management.initial.items()}
        data[f"{management.prefix}-INITIAL_FORMS"] = data[f"{management.prefix}-TOTAL_FORMS"] = 0
    return data | changes


def test_form_offers_untrusted_classifiers_with_their_limits(
    lead: User, client_of: ClientOf, settings: Any
) -> None:
    draft = policies.create_version(
        based_on=Policy.objects.active(), user=lead, trusted_silences=["removed"]
    )
    browser = client_of(lead)

    page = html.unescape(browser.get(f"{LIST}{draft.pk}/change/").content.decode())
    for slug in classifiers.list_untrusted():
        assert f'value="{slug}"' in page
        assert f"{classifiers.label(slug)}. {classifiers.describe_silence(slug)}" in page
    assert "removed. This classifier is not installed any more." in page
    trusted = filter(classifiers.silence_counts, settings.CLASSIFIER_BACKENDS)
    names = ", ".join(map(classifiers.label, trusted))
    assert "Novita detection" in names
    assert f"These count without being chosen: {names}." in page
    chosen = {"trusted_silences": ["local"], "accepted_unchecked": ["violence", "gambling"]}
    answer = browser.post(f"{LIST}{draft.pk}/change/", fill_form(browser, draft, **chosen))

    assert answer.status_code == 302
    draft.refresh_from_db()
    assert (draft.trusted_silences, draft.accepted_unchecked) == tuple(chosen.values())
    policies.activate(policy=draft, user=lead)
    page = html.unescape(browser.get(f"{LIST}{draft.pk}/change/").content.decode())
    assert "Local detector (NudeNet 320n)" in page
    assert "Violence, Gambling" in page
    today = browser.get("/").content.decode()
    assert "Also trusted: Local detector (NudeNet 320n)." in today
    assert "Approved although nothing checked: Violence, Gambling." in today


def test_page_of_a_policy_has_every_setting_with_a_help_text(
    lead: User, client_of: ClientOf
) -> None:
    draft = policies.create_version(based_on=Policy.objects.active(), user=lead)
    browser = client_of(lead)
    for policy in (draft, Policy.objects.active()):
        page = browser.get(f"{LIST}{policy.pk}/change/").context["adminform"]
        fields = [field.field for fieldset in page for line in fieldset for field in line]

        assert len(fields) > len(policies.list_settings())
        assert all(
            field["help_text"] if isinstance(field, dict) else field.help_text for field in fields
        )
    page = browser.get(f"{LIST}{draft.pk}/change/").context["adminform"]
    assert set(page.form.fields) == {*policies.list_settings(), "summary"}
    inlines = browser.get(f"{LIST}{draft.pk}/change/").context["inline_admin_formsets"]
    for model in (PolicyRule, AskRule):
        form = next(one.formset.form for one in inlines if one.opts.model is model)
        columns = {field.name for field in model._meta.concrete_fields} - {"id", "policy"}
        assert set(form.base_fields) == columns
        assert all(form.base_fields[name].help_text for name in columns)


@pytest.mark.parametrize(
    ("field", "value"), [("trusted_silences", "novita"), ("accepted_unchecked", "violence.weapons")]
)
def test_form_refuses_unknown_choices(
    lead: User, client_of: ClientOf, field: str, value: str
) -> None:
    draft = policies.create_version(based_on=Policy.objects.active(), user=lead)
    browser = client_of(lead)

    answer = browser.post(f"{LIST}{draft.pk}/change/", fill_form(browser, draft, **{field: value}))

    assert f"Select a valid choice. {value} is not one of the available choices." in (
        answer.content.decode()
    )


def test_summary_is_removed_when_rules_change_without_a_new_one(
    lead: User, client_of: ClientOf
) -> None:
    draft = policies.create_version(
        based_on=Policy.objects.active(), user=lead, summary="Approves nothing."
    )
    browser, address = client_of(lead), f"{LIST}{draft.pk}/change/"

    browser.post(address, fill_form(browser, draft, note="Only a note."))
    saved = Policy.objects.get(pk=draft.pk)
    assert (saved.note, saved.summary) == ("Only a note.", "Approves nothing.")
    browser.post(address, fill_form(browser, draft, nsfw_level=1, summary="Approves little."))
    assert Policy.objects.get(pk=draft.pk).summary == "Approves little."
    answer = browser.post(address, fill_form(browser, draft, nsfw_level=2), follow=True)
    assert Policy.objects.get(pk=draft.pk).summary == ""
    assert "The summary was removed" in answer.content.decode()
    draft.refresh_from_db()
    copy = policies.create_version(based_on=draft, user=lead)
    assert (copy.summary, copy.nsfw_level) == ("", 2)


def test_contradictory_thresholds_show_a_readable_error(lead: User, client_of: ClientOf) -> None:
    draft = policies.create_version(based_on=Policy.objects.active(), user=lead)
    browser = client_of(lead)
    data = fill_form(browser, draft, nsfw_review_at=90, nsfw_reject_at=20)

    answer = browser.post(f"{LIST}{draft.pk}/change/", data).content.decode()

    assert "“Score: reject at” must not be lower than" in answer
    assert "policy_reviews_before_it_rejects" not in answer


@pytest.mark.parametrize(
    ("review_at", "blur_at", "reject_at", "message"),
    [
        (60, 40, 95, "Must not be lower than “review at”."),
        (40, 60, 50, "Must not be lower than “blur at”."),
        (60, "", 50, "Must not be lower than “review at”."),
        (40, 60, 95, ""),
        ("", 60, "", ""),
    ],
)
def test_limits_of_a_rule_must_rise(
    lead: User, client_of: ClientOf, review_at: Any, blur_at: Any, reject_at: Any, message: str
) -> None:
    draft = policies.create_version(based_on=Policy.objects.active(), user=lead, rules={})
    browser = client_of(lead)
    data = fill_form(browser, draft) | {
        "rules-TOTAL_FORMS": 1,
        "rules-0-category": "swimwear-underwear",
        "rules-0-review_at": review_at,
        "rules-0-blur_at": blur_at,
        "rules-0-reject_at": reject_at,
    }

    answer = browser.post(f"{LIST}{draft.pk}/change/", data)

    assert (answer.status_code == 302) == (not message), answer.content.decode()
    if message:
        assert message in answer.content.decode()
        return
    rule = PolicyRule.objects.get(policy=draft)
    assert rule.blur_at == 60
    copy = policies.create_version(based_on=draft, user=lead)
    assert [rule.blur_at for rule in copy.rules.all()] == [60]


def test_every_constraint_of_a_form_has_its_own_message() -> None:
    default = BaseConstraint.default_violation_error_message
    request = RequestFactory().get("/")
    request.user = User(is_superuser=True, is_active=True)
    writable = [
        model
        for model, page in admin.site._registry.items()
        if model._meta.app_label in {"generation", "moderation"}
        and (page.has_add_permission(request) or page.has_change_permission(request))
    ]
    inlines = [
        inline
        for page in admin.site._registry.values()
        for inline in page.inlines
        if not issubclass(inline, ReadOnlyInline)
    ]
    reachable = {*writable, *(inline.model for inline in inlines)}

    mute = [
        constraint.name
        for model in reachable
        for constraint in model._meta.constraints
        if constraint.violation_error_message == default
    ]

    assert {Policy, PolicyRule, SavedQueue} <= reachable
    assert mute == []
