"""Context of the pages of policies: the list and the timeline, one version, its history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.urls import reverse

from moderation import classifiers, taxonomy
from moderation.forms.policy_drafts import LIMITS, CategoryRuleForm, DraftForm
from moderation.forms.proposals import ProposalForm
from moderation.models import Policy, PolicyActivation, PolicyProposal, PolicyRule
from moderation.presenters.judgement import find_document
from moderation.services import (
    policies,
    policy_contents,
    proposals,
    resettlement,
    score_stats,
    starting_policies,
)
from moderation.services.policy_contents import PROSE, Line, list_settings
from moderation.services.score_stats import CategoryScores, Scores
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
    ("Shadow", "moderation:policy-shadow"),
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


DAYS = (7, 30, 90)
DAYS_DEFAULT = 30
NEVER_AT = 101  # place of a limit that is not set, at the end of the scale


def parse_days(text: str) -> int:
    """Return the days of the counts; the default for anything else."""
    return int(text) if text in {str(days) for days in DAYS} else DAYS_DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """The audits' figures of one classifier in one category, in words."""

    classifier: str
    precision: str
    misses: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """The bars of one verdict in a histogram: the path of an SVG, 101 wide and 40 high."""

    verdict: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRow:
    """The rule of one category: in words, as a form, with counts and the audits' figures."""

    category: taxonomy.Category
    value: str
    rule: PolicyRule | None
    scores: CategoryScores
    bars: list[Bars]
    zones: list[Zone]
    form: CategoryRuleForm | None = None
    audits: list[Audited] = field(default_factory=list)
    children: list[RuleRow] = field(default_factory=list)

    @property
    def limits(self) -> list[Any]:
        """Return the fields of the limits, in their order."""
        return [self.form[name] for name in LIMITS] if self.form else []

    @property
    def has_own_children(self) -> bool:
        return any(child.rule for child in self.children)

    @property
    def bins(self) -> str:
        """Return the images of all verdicts by bin, for the script."""
        return " ".join(map(str, map(sum, zip(*self.scores.bins.values(), strict=True))))

    @property
    def peak(self) -> int:
        return max(map(sum, zip(*self.scores.bins.values(), strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """The part of the scale with one outcome, and the images in it."""

    outcome: str
    words: str
    start: int
    end: int
    images: int

    @property
    def width(self) -> int:
        return self.end - self.start


def list_zones(rule: PolicyRule | None, bins: list[int]) -> list[Zone]:
    """Return the outcomes of a rule along the scale. Without a rule everything is approved."""
    limits = [
        (outcome, words, limit)
        for outcome, words, limit in (
            ("person", "to a person", getattr(rule, "review_at", None)),
            ("blur", "blurred", getattr(rule, "blur_at", None)),
            ("reject", "rejected", getattr(rule, "reject_at", None)),
        )
        if limit is not None
    ]
    starts = [("approve", "approved", 0), *((name, words, int(at)) for name, words, at in limits)]
    ends = [start for _, _, start in starts[1:]] + [NEVER_AT]
    return [
        Zone(outcome=name, words=words, start=start, end=end, images=sum(bins[start:end]))
        for (name, words, start), end in zip(starts, ends, strict=True)
    ]


def draw_bars(scores: CategoryScores) -> list[Bars]:
    """Return stacked bars, one path for each verdict, the approved images at the bottom."""
    peak = max(1, *map(sum, zip(*scores.bins.values(), strict=True)))
    bases = [0.0] * 101
    drawn = []
    for verdict, bins in scores.bins.items():
        parts = []
        for place, images in enumerate(bins):
            if images:
                height = max(0.6, 40 * images / peak)
                top = 40 - bases[place] - height
                parts.append(f"M{place + 0.1:g} {top:.2f}h.8v{height:.2f}h-.8z")
                bases[place] += height
        drawn.append(Bars(verdict=verdict, path="".join(parts)))
    return drawn


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


def build_page(
    policy: Policy, user: User, *, days: int, form: DraftForm | None, problems: list[str]
) -> dict[str, Any]:
    """Build the context of one version; with a form it can be changed."""
    scores = score_stats.read_scores(days)
    return {
        **build_head(policy, user, "Rules"),
        "form": form,
        "problems": problems,
        "fingerprint": policy_contents.compute_fingerprint(policy) if form else "",
        "days": days,
        "periods": DAYS,
        "scores": scores,
        "rules": list(_list_rules(policy, scores, form, _map_audits(days))),
        "sections": list(_list_sections(policy)),
        "form_sections": list(_list_form_sections(form)) if form else [],
        "others": [
            line
            for key, line in policy_contents.describe(policy).items()
            if key.startswith(("ask ", "trust "))
        ],
    }


def _list_form_sections(form: DraftForm) -> Iterator[tuple[Section, list[Any]]]:
    """Yield each section with its fields. A new setting without a section comes last."""
    for section in SECTIONS:
        yield section, [form.settings[name] for name in section.names]
    named = {name for section in SECTIONS for name in section.names}
    rest = [form.settings[name] for name in list_settings() if name not in {*named, *PROSE}]
    if rest:
        yield Section(title="Other", text="Further settings.", names=()), rest


def _map_audits(days: int) -> dict[str, list[Audited]]:
    """Return the audits' figures by category."""
    found: dict[str, list[Audited]] = {}
    for row in find_document(days)["figures"]:
        precision, misses = row["precision"], row["miss_rate"]
        if precision["n"] or misses["n"]:
            found.setdefault(row["category"], []).append(
                Audited(
                    classifier=classifiers.label(row["classifier"]),
                    precision=_format_share(precision),
                    misses=_format_share(misses),
                )
            )
    return found


def _format_share(figure: dict[str, Any]) -> str:
    """Return a share with its interval in percent; "not known" if too few images were audited."""
    if figure["value"] is None:
        return f"not known ({figure['n']} audited)"
    low, value, high = (100 * figure[part] for part in ("low", "value", "high"))
    return f"{value:.1f} % ({low:.1f} to {high:.1f}, n = {figure['n']:,})"


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


def _list_rules(
    policy: Policy, scores: Scores, form: DraftForm | None, audits: dict[str, list[Audited]]
) -> Iterator[RuleRow]:
    rules = {rule.category: rule for rule in policy.rules.all()}

    def build(category: taxonomy.Category) -> RuleRow:
        slug = category.slug
        rule, counted = rules.get(slug), scores.of(slug)
        together = list(map(sum, zip(*counted.bins.values(), strict=True)))
        return RuleRow(
            category=category,
            rule=rule,
            value=policy_contents.describe_rule(rule, slug),
            scores=counted,
            bars=draw_bars(counted),
            zones=list_zones(rule, together),
            form=form.rules[slug] if form else None,
            audits=audits.get(slug, []),
            children=[build(child) for child in taxonomy.list_children(slug)],
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
