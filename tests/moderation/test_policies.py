"""Policies: versions, activation and its history."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models.constraints import BaseConstraint
from django.test import Client, RequestFactory

from generation.core.admin import ReadOnlyInline
from moderation.models import Policy, PolicyActivation, PolicyRule, SavedQueue
from moderation.services import policies

ClientOf = Callable[[User], Client]
LIST = "/admin/moderation/policy/"


def test_lead_copies_and_activates_policies_with_history(lead: User, client_of: ClientOf) -> None:
    browser, first = client_of(lead), Policy.objects.active()

    browser.post(LIST, {"action": "copy", "_selected_action": [first.pk]})
    second = Policy.objects.get(version=2)
    assert (second.created_by, second.is_active, second.rules.count()) == (
        lead,
        False,
        first.rules.count(),
    )
    for policy in (second, first, second):
        browser.post(LIST, {"action": "put_into_force", "_selected_action": [policy.pk]})

    assert Policy.objects.active() == second
    made = PolicyActivation.objects.exclude(activated_by=None).order_by("pk")
    assert [(row.policy, row.activated_by) for row in made] == [
        (second, lead),
        (first, lead),
        (second, lead),
    ]
    page = browser.get(f"{LIST}{second.pk}/history/").content.decode()
    assert "Copied from version 1." in page
    assert "Put into force." in page


def test_editing_the_policy_in_force_returns_403(lead: User, client_of: ClientOf) -> None:
    active = Policy.objects.active()

    answer = client_of(lead).post(f"{LIST}{active.pk}/change/", {"name": "forged", "nsfw_level": 2})

    assert answer.status_code == 403
    assert Policy.objects.active().name == active.name


def test_auditor_can_view_but_not_activate_policies(auditor: User, client_of: ClientOf) -> None:
    second = policies.create_version(based_on=Policy.objects.active(), user=None)

    client_of(auditor).post(LIST, {"action": "put_into_force", "_selected_action": [second.pk]})

    assert Policy.objects.active() != second
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


def test_contradictory_thresholds_show_a_readable_error(lead: User, client_of: ClientOf) -> None:
    draft = policies.create_version(based_on=Policy.objects.active(), user=lead)
    browser = client_of(lead)
    page = browser.get(f"{LIST}{draft.pk}/change/")
    form, inlines = page.context["adminform"].form, page.context["inline_admin_formsets"]
    data = {name: "" if value is None else value for name, value in form.initial.items()}
    for inline in inlines:
        management = inline.formset.management_form
        data |= {f"{management.prefix}-{name}": value for name, value in management.initial.items()}
        data[f"{management.prefix}-INITIAL_FORMS"] = data[f"{management.prefix}-TOTAL_FORMS"] = 0
    data |= {"nsfw_review_at": 90, "nsfw_reject_at": 20}

    answer = browser.post(f"{LIST}{draft.pk}/change/", data).content.decode()

    assert "“Score: reject at” must not be lower than" in answer
    assert "policy_reviews_before_it_rejects" not in answer


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
