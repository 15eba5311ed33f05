"""Navigation: tables of pages for the bar, the menu of a narrow window and the menu of a person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.urls import reverse

from moderation import queues

if TYPE_CHECKING:
    from django.contrib.auth.models import User

Rule = Callable[["User"], bool]


def everybody(user: User) -> bool:
    return True


def needs(*permissions: str) -> Rule:
    """Return a rule that wants all of these permissions."""
    return lambda user: user.has_perms(permissions)


def needs_any(*permissions: str) -> Rule:
    """Return a rule that wants one of these permissions."""
    return lambda user: any(user.has_perm(permission) for permission in permissions)


def staff_or(permission: str) -> Rule:
    """Return a rule that wants this permission, or staff status."""
    return lambda user: user.is_staff or user.has_perm(permission)


def connects_programs(user: User) -> bool:
    """Rule for people who hold API keys and do not work at the desk."""
    return user.has_perm("generation.hold_api_key") and not user.has_perm("moderation.view_review")


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the navigation; ``rule`` is the one of its view.

    ``views`` are the beginnings of the names of further views that belong to it.
    """

    label: str
    url_name: str
    icon: str
    rule: Rule = everybody
    views: tuple[str, ...] = ()

    def contains(self, view_name: str) -> bool:
        return view_name == self.url_name or view_name.startswith(self.views)


@dataclass(frozen=True, slots=True)
class Link:
    """A page as one person sees it now."""

    label: str
    url: str
    icon: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class LinkGroup:
    """Links below one heading in the menu of a person."""

    label: str
    links: list[Link]


MAIN = (
    Page("Today", "home", "home"),
    Page(
        "Queues",
        "moderation:queue-list",
        "queue",
        lambda user: bool(queues.list_queues(user)),
        views=("moderation:queue", "moderation:review-", "moderation:sheet"),
    ),
    Page(
        "Search",
        "moderation:search",
        "search",
        needs("moderation.view_review", "generation.view_generationrequest"),
    ),
    Page(
        "Decisions",
        "moderation:decision-list",
        "scale",
        needs("moderation.view_decision"),
        views=("moderation:batch",),
    ),
    Page("Requests", "generation:request-list", "send", views=("generation:request",)),
    Page(
        "Policies",
        "moderation:policy-list",
        "sliders",
        needs("moderation.view_policy"),
        views=("moderation:policy",),
    ),
    Page(
        "Team",
        "moderation:person-list",
        "users",
        needs_any("moderation.view_review", "moderation.manage_team"),
        views=(
            "moderation:person",
            "moderation:role",
            "moderation:invitation",
            "moderation:team",
            "moderation:api-key",
            "moderation:golden-image",
            "moderation:calibration",
        ),
    ),
    Page(
        "Insights",
        "moderation:insight-work",
        "chart",
        needs("moderation.view_periodcount"),
        views=("moderation:insight", "moderation:prompt-trial", "moderation:quality"),
    ),
    Page("Providers", "providers", "server", needs("generation.resolve_request")),
    Page("Developers", "moderation:developers", "code", connects_programs),
)
MENU = {
    "Work": (
        Page(
            "Verification",
            "moderation:verification-list",
            "shield-check",
            needs("moderation.view_verification"),
        ),
        Page(
            "Traces",
            "moderation:trace-list",
            "eye",
            needs("moderation.view_accesstrace"),
        ),
        Page(
            "New findings",
            "moderation:new-finding-list",
            "alert",
            needs("moderation.decide_escalated_review"),
        ),
        Page(
            "Reclassifications",
            "moderation:reclassification-list",
            "refresh",
            needs("moderation.view_reclassification"),
            views=("moderation:reclassification",),
        ),
        Page(
            "Imports",
            "moderation:import-set-list",
            "upload",
            needs("moderation.view_importset"),
            views=("moderation:import",),
        ),
        Page("Learned heads", "moderation:head-list", "flask", needs("moderation.view_head")),
        Page(
            "Retention",
            "moderation:retention-rule-list",
            "calendar",
            needs("moderation.view_retentionrule"),
            views=("moderation:retention", "moderation:erasure"),
        ),
        Page(
            "Legal holds",
            "moderation:legal-hold-list",
            "lock",
            needs("moderation.view_legalhold"),
            views=("moderation:legal-hold",),
        ),
        Page(
            "Storage",
            "moderation:storage-usage-detail",
            "layers",
            needs("moderation.view_operations"),
        ),
        Page(
            "Operations",
            "moderation:operations",
            "activity",
            needs("moderation.view_operations"),
        ),
        Page(
            "Webhook deliveries",
            "moderation:delivery-list",
            "webhook",
            needs("moderation.view_operations"),
        ),
        Page(
            "Developers",
            "moderation:developers",
            "code",
            lambda user: not connects_programs(user),
        ),
        Page("My API keys", "moderation:key-list", "key", needs("generation.hold_api_key")),
        Page("Admin site", "admin:index", "layers", staff_or("moderation.use_admin_site")),
    ),
    "You": (
        Page(
            "My history",
            "moderation:history",
            "history",
            needs_any("moderation.decide_review", "moderation.decide_lead_review"),
        ),
        Page("All preferences", "preferences", "settings"),
        Page("Sessions", "moderation:session-list", "monitor"),
        Page("Second factors", "mfa_index", "shield", views=("mfa_",)),
        Page("Change password", "password-change", "lock", lambda user: user.has_usable_password()),
    ),
}


def list_links(user: User, view_name: str, pages: Sequence[Page] = MAIN) -> list[Link]:
    """Return the pages that a person may open."""
    return [
        Link(page.label, reverse(page.url_name), page.icon, page.contains(view_name))
        for page in pages
        if page.rule(user)
    ]


def list_groups(user: User, view_name: str) -> list[LinkGroup]:
    """Return the groups of the menu that have a page for this person."""
    groups = (LinkGroup(label, list_links(user, view_name, pages)) for label, pages in MENU.items())
    return [group for group in groups if group.links]
