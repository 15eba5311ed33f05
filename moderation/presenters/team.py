"""Context of the pages about the team: people, roles, invitations, events, sessions."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group, User
from django.db.models import Count, F, Prefetch, Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from generation.core.db import keyset
from generation.models import ApiKey
from moderation import roles
from moderation.models import BrowserSession, Invitation, TeamEvent
from moderation.presenters.key_rows import KeyRow, describe_key
from moderation.services import api_keys, browser_sessions, team

PEOPLE_SHOWN = 50
EVENTS_SHOWN = 50
CLOSED_SHOWN = 20
FACTOR_NAMES = {  # as the page Second factors calls them
    Authenticator.Type.TOTP: "app with codes",
    Authenticator.Type.WEBAUTHN: "passkey",
    Authenticator.Type.RECOVERY_CODES: "recovery codes",
}


# --- Roles ---


@dataclass(frozen=True, slots=True)
class Ability:
    """Something that people with these permissions may do, as the end of a sentence."""

    permissions: tuple[str, ...]
    text: str
    is_contrast: bool = False  # named on the cards of roles that may not


ABILITIES = (
    Ability(("generation.view_asset", "moderation.view_review"), "see images", True),
    Ability(("moderation.decide_review",), "decide images in the queues", True),
    Ability(
        ("moderation.decide_escalated_review",),
        "decide escalated images, and reverse decisions of others",
        True,
    ),
    Ability(("moderation.decide_lead_review",), "decide images that were escalated twice"),
    Ability(("generation.add_generationrequest",), "request images"),
    Ability(("moderation.add_importset",), "import images"),
    Ability(("moderation.view_decision",), "read the record of decisions"),
    Ability(("moderation.add_goldenimage",), "mark golden images, and see the team's results"),
    Ability(("moderation.add_calibrationsession",), "start calibration sessions"),
    Ability(("moderation.export_decision",), "export the record"),
    Ability(("moderation.add_verification",), "verify the whole record"),
    Ability(("moderation.view_policy",), "read policies"),
    Ability(("moderation.view_periodcount",), "read insights"),
    Ability(
        ("moderation.change_policy", "moderation.activate_policy"),
        "write policies and put them into force",
        True,
    ),
    Ability(("moderation.promote_head",), "promote and retire learned heads"),
    Ability(("moderation.add_reclassification",), "run classifiers again, which can cost money"),
    Ability(("moderation.import_hash_list",), "import and edit hash lists"),
    Ability(("moderation.add_hashentry",), "put images on hash lists"),
    Ability(
        ("generation.resolve_request",),
        "see providers and cost, and settle failed and unknown requests",
        True,
    ),
    Ability(("moderation.view_operations",), "see workers, storage and webhook deliveries"),
    Ability(("moderation.manage_team",), "invite people, give roles and end sessions", True),
    Ability(("moderation.view_teamevent",), "read who changed the team"),
    Ability(("moderation.change_retentionrule",), "say which images are removed, and when"),
    Ability(("moderation.add_erasure",), "erase the images and texts of an end user"),
    Ability(("moderation.add_legalhold",), "place legal holds"),
    Ability(("moderation.lift_legalhold",), "lift legal holds"),
    Ability(("moderation.view_recordevent",), "read the events of the record"),
    Ability(("moderation.view_accesstrace",), "read who opened which image and exported what"),
    Ability(("generation.change_apikey",), "see and revoke every API key"),
    Ability(("generation.hold_api_key",), "hold own API keys"),
)
TITLES = {
    "moderator": ("Moderator", "Decides image by image."),
    "senior moderator": ("Senior moderator", "Decides escalated images and disagreements."),
    "policy lead": ("Policy lead", "Writes the rules that decide without a person."),
    "auditor": ("Auditor", "Checks the record and changes nothing."),
    "operator": ("Operator", "Keeps the installation and the team running."),
    "integrator": ("API access", "Lets a developer connect programs."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleCard:
    """A role in sentences, derived from the permissions that its group has now."""

    name: str
    title: str
    purpose: str
    may: list[str]
    may_not: list[str]
    people: int


def build_roles() -> list[RoleCard]:
    groups = Group.objects.filter(name__in=roles.ROLES).prefetch_related(
        "permissions__content_type"
    )
    counted = groups.annotate(people=Count("user", filter=Q(user__is_active=True)))
    found = {group.name: group for group in counted}
    return [_build_card(found[name]) for name in roles.ROLES if name in found]


def _build_card(group: Any) -> RoleCard:
    held = {f"{one.content_type.app_label}.{one.codename}" for one in group.permissions.all()}
    title, purpose = TITLES[group.name]
    return RoleCard(
        name=group.name,
        title=title,
        purpose=purpose,
        may=[ability.text for ability in ABILITIES if held.issuperset(ability.permissions)],
        may_not=[
            ability.text
            for ability in ABILITIES
            if ability.is_contrast and not held.issuperset(ability.permissions)
        ],
        people=group.people,
    )


def list_role_choices() -> list[tuple[str, str, str]]:
    """Return name, title and purpose of the roles that can be given."""
    return [(name, *TITLES[name]) for name in team.list_roles()]


def name_roles(names: Collection[str]) -> list[str]:
    return [title for name, (title, _) in TITLES.items() if name in names]


# --- People ---


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonRow:
    """A person of the list. Activity and sessions are None to people who do not manage."""

    user: User
    roles: list[str]
    seen_at: datetime | None = None
    sessions: int | None = None


@dataclass(frozen=True, slots=True)
class Tab:
    name: str
    url: str
    is_current: bool


def list_tabs(user: User, current: str) -> list[Tab]:
    tabs = [("People", "moderation:person-list"), ("Roles", "moderation:role-list")]
    if user.has_perm("moderation.view_goldenimage"):
        tabs.append(("Golden images", "moderation:golden-image-list"))
    if user.has_perm("moderation.view_review"):
        tabs.append(("Calibrations", "moderation:calibration-session-list"))
    if user.has_perm(team.MANAGE):
        tabs.append(("Invitations", "moderation:invitation-list"))
    if user.has_perm("generation.view_apikey"):
        tabs.append(("API keys", "moderation:api-key-list"))
    if user.has_perm("moderation.view_teamevent"):
        tabs.append(("Changes", "moderation:team-event-list"))
    return [Tab(name, reverse(url), name == current) for name, url in tabs]


def build_people(viewer: User, *, query: str, role: str, after: str) -> dict[str, Any]:
    """Build one page of people, by name. Only managers see deactivated people and activity."""
    manages = viewer.has_perm(team.MANAGE)
    rows = _find_people(query.strip()[:150], with_mail=manages)
    if not manages:
        named = Q(groups__name__in=roles.ROLES) | Q(is_superuser=True)
        rows = rows.filter(pk__in=User.objects.filter(named, is_active=True).values("pk"))
    role = role if role in TITLES else ""
    if role:
        rows = rows.filter(groups__name=role)
    if after:
        rows = keyset.rows_after(rows, ("username",), (after[:150],))
    rows = rows.order_by("username").prefetch_related(
        Prefetch("groups", Group.objects.filter(name__in=roles.ROLES))
    )
    if manages:
        rows = rows.select_related("last_activity")
    found, has_more = keyset.read_page(rows, PEOPLE_SHOWN)
    sessions = _count_sessions(found) if manages else {}
    return {
        "tabs": list_tabs(viewer, "People"),
        "people": [_build_row(person, manages, sessions) for person in found],
        "manages": manages,
        "query": query,
        "role": role,
        "role_choices": [(name, title) for name, (title, _) in TITLES.items()],
        "after": found[-1].username if has_more else "",
        "is_first": not after,
    }


def _find_people(query: str, *, with_mail: bool) -> QuerySet[User]:
    if not query:
        return User.objects.all()
    wanted = Q(username__icontains=query)
    if with_mail:
        wanted |= Q(email__icontains=query)
    return User.objects.filter(wanted)


def _count_sessions(people: Iterable[User]) -> dict[int, int]:
    rows = BrowserSession.objects.filter(
        user__in=[person.pk for person in people], session__expire_date__gt=timezone.now()
    )
    return dict(rows.values_list("user").annotate(count=Count("pk")))


def _build_row(person: User, manages: bool, sessions: dict[int, int]) -> PersonRow:
    names = name_roles([group.name for group in person.groups.all()])
    if person.is_superuser:
        names = ["Administrator", *names]
    if not manages:
        return PersonRow(user=person, roles=names)
    activity = getattr(person, "last_activity", None)
    return PersonRow(
        user=person,
        roles=names,
        seen_at=activity.seen_at if activity else None,
        sessions=sessions.get(person.pk, 0),
    )


def build_person(viewer: User, person: User) -> dict[str, Any]:
    held = set(person.groups.filter(name__in=roles.ROLES).values_list("name", flat=True))
    events = TeamEvent.objects.filter(person=person).select_related("actor", "person")
    activity = getattr(person, "last_activity", None)
    factors = Authenticator.objects.filter(user=person).order_by("pk")
    keys: list[KeyRow] = []
    if viewer.has_perm("generation.view_apikey"):
        newest = ApiKey.objects.filter(owner=person).select_related("owner")
        first = F("revoked_at").asc(nulls_first=True)
        keys = [describe_key(key) for key in newest.order_by(first, "-created_at")[:20]]
    return {
        "tabs": list_tabs(viewer, "People"),
        "person": person,
        "refusal": team.explain_refusal(viewer, person),
        "choices": [(*choice, choice[0] in held) for choice in list_role_choices()],
        "held": name_roles(held),
        "sessions": [describe_session(row) for row in browser_sessions.list_open(person)[:20]],
        "seen_at": activity.seen_at if activity else None,
        "events": events.order_by("-pk")[:10],
        "keys": keys,
        "orphaned_keys": api_keys.count_orphaned(person) if keys else 0,
        "may_revoke_keys": viewer.has_perm("generation.change_apikey")
        and any(row.is_usable for row in keys),
        "factors": [FACTOR_NAMES[Authenticator.Type(factor.type)] for factor in factors],
        "link": Invitation.objects.open().filter(person=person).order_by("-pk").first(),
    }


# --- Invitations and events ---


def build_invitations(viewer: User) -> dict[str, Any]:
    rows = Invitation.objects.select_related("created_by", "person")
    opened = list(rows.open().order_by("-pk")[:200])
    closed = rows.exclude(pk__in=[row.pk for row in opened]).order_by("-pk")[:CLOSED_SHOWN]
    return {
        "tabs": list_tabs(viewer, "Invitations"),
        "open": [(row, name_roles(row.roles)) for row in opened],
        "closed": [(row, name_roles(row.roles)) for row in closed],
        "role_choices": list_role_choices(),
    }


def build_events(viewer: User, *, before: str) -> dict[str, Any]:
    rows = TeamEvent.objects.select_related("actor", "person")
    if before.isascii() and before.isdecimal() and len(before) <= 18:
        rows = keyset.rows_after(rows, ("-pk",), (int(before),))
    found, has_older = keyset.read_page(rows.order_by("-pk"), EVENTS_SHOWN)
    return {
        "tabs": list_tabs(viewer, "Changes"),
        "events": found,
        "older": found[-1].pk if has_older else None,
        "is_first": not before,
    }


# --- Sessions ---


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A session with its browser in words."""

    row: BrowserSession
    device: str
    is_current: bool = False


# The first match counts: browsers also name those that they descend from.
BROWSERS = (
    (("Edg/", "Edge/", "EdgA/", "EdgiOS/"), "Edge"),
    (("OPR/", "Opera"), "Opera"),
    (("Firefox/", "FxiOS/"), "Firefox"),
    (("Chrome/", "Chromium/", "CriOS/"), "Chrome"),
    (("Safari/",), "Safari"),
)
SYSTEMS = (
    (("iPhone", "iPad"), "iOS"),
    (("Android",), "Android"),
    (("Windows",), "Windows"),
    (("Mac OS X", "Macintosh"), "macOS"),
    (("CrOS",), "ChromeOS"),
    (("Linux",), "Linux"),
)


def _find_name(names: tuple[tuple[tuple[str, ...], str], ...], text: str) -> str:
    return next((name for parts, name in names if any(part in text for part in parts)), "")


def describe_device(user_agent: str) -> str:
    """Return the browser and its system in words, as the browser itself says."""
    browser, system = _find_name(BROWSERS, user_agent), _find_name(SYSTEMS, user_agent)
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or "Unknown browser"


def describe_session(row: BrowserSession, current: str | None = None) -> SessionRow:
    return SessionRow(
        row=row,
        device=describe_device(row.user_agent),
        is_current=row.session_id == current,
    )


def build_sessions(user: User, current: str | None) -> dict[str, Any]:
    """Build the person's own sessions, with the current session key first."""
    rows = [describe_session(row, current) for row in browser_sessions.list_open(user)[:100]]
    rows.sort(key=lambda row: not row.is_current)
    return {"sessions": rows, "has_others": any(not row.is_current for row in rows)}
