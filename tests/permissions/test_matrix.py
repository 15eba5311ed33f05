"""Status codes of every route for every role and API key.

A route or model without a row in expected.py fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from http.cookies import SimpleCookie
from typing import Any

import pytest
from django.contrib import admin
from django.db import transaction
from django.test import Client

from generation import providers
from generation.models import ApiKey, GenerationRequest
from moderation.models import (
    BrowserSession,
    CalibrationSession,
    Decision,
    Delivery,
    GoldenImage,
    HashEntry,
    HashList,
    ImportSet,
    Invitation,
    LegalHold,
    NewFinding,
    Policy,
    Reclassification,
    RetentionRule,
    Review,
    SavedQueue,
    Verdict,
)
from moderation.services import decisions, policies, prompt_trials, proposals, trials
from tests.generation.imaging.test_original import FILES
from tests.permissions.expected import ADMIN, API, OTHER_ROLES, PAGES
from tests.permissions.routes import KEYS, OTHERS, PEOPLE, find_routes, make_keys, make_people
from tests.ports import free_port

pytestmark = pytest.mark.django_db
ADMIN_SITE_PEOPLE = PEOPLE[4:]  # people with access to the admin site
# The row 999999 does not exist.
ADMIN_PAGES = {"v": "", "a": "add/", "c": "999999/change/", "d": "999999/delete/"}


@pytest.fixture(autouse=True)
def absent_provider(settings: Any) -> Iterator[None]:
    """Let nothing answer at the provider's URL, also while `make run` uses the default port."""
    entry = settings.IMAGE_PROVIDERS["novita-sandbox"]
    # All people and methods come from one address within a minute.
    settings.ACCOUNT_RATE_LIMITS = settings.MFA_RATE_LIMITS = False
    options = {**entry["OPTIONS"], "base_url": f"http://127.0.0.1:{free_port()}"}
    settings.IMAGE_PROVIDERS = {"novita-sandbox": {**entry, "OPTIONS": options}}
    providers.get_provider.cache_clear()
    yield
    providers.get_provider.cache_clear()


@pytest.fixture
def route_values(
    make_review: Callable[..., Any], make_request: Callable[..., GenerationRequest], moderator: Any
) -> dict[str, str]:
    """Return a value for each route parameter. None of the objects belongs to one of PEOPLE."""
    item = make_request(prompt="somebody else's")
    review: Review = make_review(
        source="txt2img", request=item, position=0, content=FILES["png-alpha"]()
    )
    decided: Review = make_review()
    decisions.claim(review=decided, user=moderator)
    decision: Decision = decisions.decide(
        review=decided, user=moderator, verdict=Verdict.APPROVE, batch=review.uuid
    )
    calibration = CalibrationSession.objects.create(title="theirs", created_by=moderator)
    golden = GoldenImage.objects.create(review=decided, verdict="approve", marked_by=moderator)
    saved = SavedQueue.objects.create(owner=moderator, name="mine", base="waiting")
    order = Reclassification.objects.create(scope="failed", per_minute=1, until=0)
    NewFinding.objects.create(review=review, reason="It was found later.")
    draft = policies.create_version(based_on=Policy.objects.active(), user=moderator)
    proposal = proposals.propose(policy=draft, author=moderator, reason="Too many false alarms.")
    key, _ = ApiKey.make(name="theirs", scopes=[], owner=moderator)
    delivery = Delivery.objects.create(request=item, kind="finished", status="failed")
    import_set = ImportSet.objects.create(created_by=moderator, name="theirs")
    active = Policy.objects.active()
    trial = trials.start(candidate=active, baseline=active, days=7, user=None)
    listed = HashList.objects.create(name="bans")
    entry = HashEntry.objects.create(hash_list=listed, algorithm="sha256", value=bytes(32))
    prompt_trial = prompt_trials.start(rule="castle", allowed="", days=7, user=moderator)
    invitation, _ = Invitation.make(created_by=moderator, roles=["moderator"])
    rule = RetentionRule.objects.create(name="old ones", days=30)
    hold = LegalHold.objects.create(
        scope="request", request=item, about="a request", reason="a case", placed_by=moderator
    )
    Client().force_login(moderator)
    session = BrowserSession.objects.get(user=moderator)
    return {
        "retention/<uuid:uuid>": f"retention/{rule.uuid}",
        "holds/<uuid:uuid>": f"holds/{hold.uuid}",
        "keys/<uuid:uuid>": f"keys/{key.uuid}",
        "team/calibrations/<uuid:uuid>": f"team/calibrations/{calibration.uuid}",
        "team/golden/<uuid:uuid>": f"team/golden/{golden.uuid}",
        "reviews/<uuid:uuid>": f"reviews/{review.uuid}",
        "hash-entries/<int:pk>": f"hash-entries/{entry.pk}",
        "reclassifications/<uuid:uuid>": f"reclassifications/{order.uuid}",
        "insights/prompts/<uuid:uuid>": f"insights/prompts/{prompt_trial.uuid}",
        "insights/risk/<slug:kind>": "insights/risk/word",
        "policies/<int:version>": "policies/1",
        "policies/proposals/<uuid:uuid>": f"policies/proposals/{proposal.uuid}",
        "policies/trials/<uuid:uuid>": f"policies/trials/{trial.uuid}",
        "new-findings/<uuid:uuid>": f"new-findings/{review.uuid}",
        "deliveries/<uuid:uuid>": f"deliveries/{delivery.uuid}",
        "imports/<uuid:uuid>": f"imports/{import_set.uuid}",
        "batches/<uuid:uuid>": f"batches/{decision.batch}",
        "decisions/<uuid:uuid>": f"decisions/{decision.uuid}",
        "requests/<uuid:uuid>": f"requests/{item.uuid}",
        "v1/assets/<str:asset_id>": f"v1/assets/{review.asset.uuid}",
        "assets/<uuid:uuid>/views/<slug:kind>": f"assets/{review.asset.uuid}/views/white",
        "assets/<uuid:uuid>": f"assets/{review.asset.uuid}",
        "queues/saved/<uuid:uuid>": f"queues/saved/{saved.uuid}",
        "queues/<slug:slug>": "queues/waiting",
        "providers/<slug:slug>": "providers/nowhere",
        "team/invitations/<uuid:uuid>": f"team/invitations/{invitation.uuid}",
        "heads/<int:pk>": "heads/999999",
        "team/<int:pk>": f"team/{moderator.pk}",
        "sessions/<uuid:uuid>": f"sessions/{session.uuid}",
        "invitations/<str:token>": "invitations/unknown",
        "<str:secret>": "secret",
        "<str:token>.<slug:extension>": "token.png",
        "<path:content_type_id>/<path:object_id>": "999999/1",
        "<str:uidb36>/<str:key>": "1/nothing",
        "scim/v2/Users/<int:pk>": "scim/v2/Users/999999",
        "sso/<slug:provider_id>": "sso/sso",
        "saml/<slug:organization_slug>": "saml/sso",
        "factors/passkeys/<int:pk>": "factors/passkeys/999999",
        "(?P<url>.*)$": "nowhere",
        "[\\s\\S]*$": "nowhere",
    }


def make_path(route: str, route_values: dict[str, str]) -> str:
    if route.startswith("admin/^<app_label>"):
        return "/admin/moderation/"
    for part, value in route_values.items():
        route = route.replace(part, value)
    # The host keeps a path that begins with two slashes from being read as a host.
    return f"http://testserver/{route}"


def request_status(
    browser: Client, method: str, path: str, headers: dict[str, str] | None = None
) -> int:
    """Return the status code of the response, and undo all changes of data and cookies."""
    cookies = SimpleCookie({name: morsel.value for name, morsel in browser.cookies.items()})
    with transaction.atomic():
        answer: Any = browser.generic(method, path, headers=headers)
        if answer.streaming:
            assert b"".join(answer.streaming_content)
        transaction.set_rollback(True)
    browser.cookies = cookies
    return int(answer.status_code)


def parse_row(expected: str, names: tuple[str, ...]) -> dict[str, int]:
    statuses = [int(word) for word in expected.split()]
    return dict(zip(names, statuses * len(names) if len(statuses) == 1 else statuses, strict=True))


def test_every_route_and_model_has_a_row() -> None:
    assert sorted(find_routes()) == sorted([*PAGES, *API])
    assert {route for rows in OTHER_ROLES.values() for route in rows} <= set(PAGES)
    assert {model._meta.label_lower for model in admin.site._registry} == set(ADMIN)


def test_pages_return_expected_status_for_every_role(route_values: dict[str, str]) -> None:
    people, (_, key) = make_people(), list(make_keys().items())[3]
    wrong = []
    for route, (get, post) in PAGES.items():
        path = make_path(route, route_values)
        for place, (method, row) in enumerate((("GET", get), ("POST", post))):
            expected = parse_row(row, PEOPLE)
            for name in OTHERS:
                own = OTHER_ROLES[name].get(route)
                expected[name] = int(own.split()[place]) if own else expected["no role"]
            found = {name: request_status(people[name], method, path) for name in expected}
            if found != expected:
                wrong.append((route, method, found))
        stranger = parse_row(get, PEOPLE)["anonymous"]
        found = {
            "deactivated": request_status(people["deactivated"], "GET", path),
            "key": request_status(Client(), "GET", path, key),
        }
        if set(found.values()) != {stranger}:
            wrong.append((route, "GET", found))
        # Django's admin pages accept every method.
        if not route.startswith("admin/") and (
            status := request_status(people["superuser"], "DELETE", path)
        ) not in (
            302,
            404,
            405,
        ):
            wrong.append((route, "DELETE", {"superuser": status}))
    assert wrong == []


def test_api_calls_return_expected_status_for_every_key(route_values: dict[str, str]) -> None:
    people, keys = make_people(), make_keys()
    wrong = []
    for route, (stranger, get, post) in API.items():
        path = make_path(route, route_values)
        for method, expected in (("GET", parse_row(get, KEYS)), ("POST", parse_row(post, KEYS))):
            found = {name: request_status(Client(), method, path, keys[name]) for name in KEYS}
            if found != expected:
                wrong.append((route, method, found))
        # The API ignores sessions.
        seen = [
            request_status(people[name], method, path)
            for name in ("anonymous", "superuser")
            for method in ("GET", "POST")
        ]
        if seen != [int(word) for word in stranger.split()] * 2:
            wrong.append((route, "people", seen))
    assert wrong == []


def test_admin_site_opens_expected_pages_for_every_role() -> None:
    people = make_people()
    wrong = []
    for model in admin.site._registry:
        base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        outside = {request_status(people[name], "GET", base) for name in (*PEOPLE[:4], *OTHERS)}
        found = {
            name: "".join(
                letter
                for letter, tail in ADMIN_PAGES.items()
                if request_status(people[name], "GET", base + tail) != 403
            )
            for name in ADMIN_SITE_PEOPLE
        }
        expected = dict(zip(ADMIN_SITE_PEOPLE, ADMIN[model._meta.label_lower].split(), strict=True))
        if outside != {302} or found != {
            name: letters.strip("-") for name, letters in expected.items()
        }:
            wrong.append((model._meta.label_lower, outside, found))
    assert wrong == []


def test_every_shown_link_opens_for_its_role(
    route_values: dict[str, str],
) -> None:
    people = make_people()
    wrong = []
    for name in (*PEOPLE[1:-1], *OTHERS):  # a superuser may open every page
        seen: set[str] = set()
        ahead = {"/"}
        for _ in range(3):
            pages = {path: people[name].get(path) for path in sorted(ahead)}
            seen |= ahead
            wrong += [
                (name, path, page.status_code)
                for path, page in pages.items()
                if page.status_code >= 400
            ]
            texts = [page.content.decode() for page in pages.values() if not page.streaming]
            found = {link for text in texts for link in re.findall(r'href="(/[^"#?]*)', text)}
            ahead = {
                link for link in found if not link.startswith(("/static/", "/exports/"))
            } - seen
        assert {"/requests/", "/preferences/", "/password/"} <= seen, name
        assert ("/queues/" in seen) == (name in ("moderator", "senior", "lead")), name
    assert wrong == []
