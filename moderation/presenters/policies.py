"""Context of the pages of policies: the list and the timeline, one version, its history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.urls import reverse

from moderation import taxonomy
from moderation.forms.proposals import ProposalForm
from moderation.models import Policy, PolicyActivation, PolicyProposal, PolicyRule
from moderation.services import (
    policies,
    policy_contents,
    proposals,
    resettlement,
    starting_policies,
)
from moderation.services.policy_contents import Line
from moderation.services.starting_policies import STARTING_POLICIES

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SHOWN = 50  # drafts, and events of the timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Tab:
    """A page about one version of the policy."""

    name: str
    url: str
    is_current: bool


# The pages about one version: the title of the tab and the name of the URL.
TABS = (
    ("Rules", "moderation:policy-detail"),
    ("Try it", "moderation:policy-trial-list"),
    ("Proposal", "moderation:proposal-create"),
    ("History", "moderation:policy-history"),
)


def list_tabs(policy: Policy, current: str) -> list[Tab]:
    """Return the tabs of a version; ``current`` is the title of the open one."""
    return [
        Tab(name=name, url=reverse(route, args=[policy.version]), is_current=name == current)
        for name, route in TABS
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Settings of a policy that belong together, with a sentence about them."""

    title: str
    text: str
    names: tuple[str, ...]
    lines: list[Line] = field(default_factory=list)


SECTIONS = (
    Section(
        title="Approvals",
        text="These settings say when the policy may approve an image without a person.",
        names=(
            "may_approve",
            "approves_imports",
            "requires_full_coverage",
            "trusted_silences",
            "accepted_unchecked",
        ),
    ),
    Section(
        title="Scores without a category",
        text="Some classifiers give one number for all categories, for example Novita’s detection.",
        names=("nsfw_level", "nsfw_review_at", "nsfw_reject_at"),
    ),
    Section(
        title="Known files",
        text="A file that was approved before needs no second look, if you allow that here.",
        names=("reuses_approvals", "trusts_allow_lists"),
    ),
    Section(
        title="Delivery",
        text="This setting says which form of an approved image programs get.",
        names=("delivers_rendition",),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRow:
    """The rule of one L1 category in words, with its second levels."""

    category: taxonomy.Category
    value: str
    rule: PolicyRule | None
    children: list[RuleRow] = field(default_factory=list)


def build_list(user: User) -> dict[str, Any]:
    """Build the context of the list: the policy in force, drafts, and what was in force when."""
    return {
        "active": Policy.objects.filter(is_active=True).select_related("created_by").first(),
        "drafts": Policy.objects.drafts().select_related("created_by").order_by("-version")[:SHOWN],
        "proposals": list_open_proposals(),
        "events": list_events(),
        **_build_creation(user),
    }


def _build_creation(user: User) -> dict[str, Any]:
    if not user.has_perm("moderation.add_policy"):
        return {}
    return {
        "starting_policies": STARTING_POLICIES.values(),
        "suggested": starting_policies.suggest(),
    }


_EVENT_ROWS = ("activated_by", "author", "previous")


def list_open_proposals() -> list[PolicyProposal]:
    """Return the proposals that wait for approval or for their time, the oldest first."""
    rows = PolicyProposal.objects.open().select_related("policy", "author", "approver")
    return list(rows.order_by("pk")[:SHOWN])


def build_proposal(
    policy: Policy, user: User, *, form: ProposalForm, problem: str
) -> dict[str, Any]:
    """Build the context of a draft's proposal: the changes, their effect, and the next step."""
    rows = policy.proposals.select_related("author", "approver", "closed_by").order_by("-pk")
    newest = rows.first()
    is_draft = policies.is_draft(policy)
    active = Policy.objects.active()
    return {
        **build_head(policy, user, "Proposal"),
        "form": form,
        "problem": problem,
        "proposal": newest if is_draft else None,
        "active": active,
        "changes": policy_contents.compare(active, policy) if is_draft else [],
        "preview": resettlement.preview(policy) if is_draft else None,
        "may_approve": bool(newest and newest.is_open and proposals.may_approve(newest, user)),
        "needs_second_person": proposals.needs_second_person(),
    }


def list_events() -> list[PolicyActivation]:
    """Return the newest events that put a policy into force, the newest first."""
    rows = PolicyActivation.objects.select_related("policy", *_EVENT_ROWS)
    return list(rows.order_by("-created_at", "-pk")[:SHOWN])


def build_page(policy: Policy, user: User) -> dict[str, Any]:
    """Build the context of one version."""
    return {
        **build_head(policy, user, "Rules"),
        "rules": list(_list_rules(policy)),
        "sections": list(_list_sections(policy)),
        "others": [
            line
            for key, line in policy_contents.describe(policy).items()
            if key.startswith(("ask ", "trust "))
        ],
    }


def build_head(policy: Policy, user: User, current: str) -> dict[str, Any]:
    """Build the context of the head of a version's pages: title, state, tabs."""
    return {
        "policy": policy,
        "is_draft": policies.is_draft(policy),
        "current_tab": current,
        "tabs": list_tabs(policy, current),
    }


def build_history(policy: Policy, user: User) -> dict[str, Any]:
    """Build the context of the events of one version."""
    rows = policy.activations.select_related("policy", *_EVENT_ROWS)
    past = policy.proposals.select_related("author", "approver", "closed_by").order_by("-pk")
    return {
        **build_head(policy, user, "History"),
        "proposals": past[:SHOWN],
        "events": list(rows.order_by("-created_at", "-pk")[:SHOWN]),
    }


def _list_rules(policy: Policy) -> Iterator[RuleRow]:
    rules = {rule.category: rule for rule in policy.rules.all()}

    def build(category: taxonomy.Category) -> RuleRow:
        rule = rules.get(category.slug)
        return RuleRow(
            category=category,
            rule=rule,
            value=policy_contents.describe_rule(rule, category.slug),
            children=[build(child) for child in taxonomy.list_children(category.slug)],
        )

    for l1 in taxonomy.L1:
        yield build(l1)


def _list_sections(policy: Policy) -> Iterator[Section]:
    lines = policy_contents.describe(policy)
    for section in SECTIONS:
        yield Section(
            title=section.title,
            text=section.text,
            names=section.names,
            lines=[lines[name] for name in section.names],
        )
