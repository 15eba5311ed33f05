"""The same security headers on every answer: pages, API, errors, files, probes."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from config import urls
from config.middleware import PERMISSIONS_POLICY
from tests.permissions.expected import API, PAGES
from tests.permissions.routes import make_keys, make_people
from tests.permissions.test_matrix import (
    absent_provider,
    make_path,
    route_values,
)

pytestmark = pytest.mark.django_db
__all__ = ["absent_provider", "route_values"]  # fixtures

EXACT = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": PERMISSIONS_POLICY,
    # Not no-referrer: Django's CSRF check of a form over https needs the own origin.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
FEATURES = ("camera", "microphone", "geolocation", "payment", "usb", "display-capture")


def find_faults(response: Any) -> list[str]:
    """Return what is wrong with the headers of a response."""
    headers = response.headers
    wrong = [
        f"{name}: {headers.get(name)}"
        for name, value in EXACT.items()
        if headers.get(name) != value
    ]
    policy = headers.get("Content-Security-Policy", "")
    is_bounded = "frame-ancestors 'none'" in policy or policy.endswith("; sandbox")
    if "default-src 'none'" not in policy or not is_bounded:
        wrong.append(f"CSP: {policy}")
    if "unsafe" in policy or "http" in policy:
        wrong.append(f"CSP: {policy}")
    if {"Server", "X-Powered-By", "Access-Control-Allow-Origin"} & set(headers):
        wrong.append(f"extra: {dict(headers)}")
    if "no-store" not in headers.get("Cache-Control", ""):
        wrong.append(f"Cache-Control: {headers.get('Cache-Control')}")
    return wrong


def call(browser: Client, method: str, url: str, **headers: str) -> Any:
    response: Any = browser.generic(method, url, headers=headers)
    if response.streaming:
        b"".join(response.streaming_content)
    return response


# The description of the API is public and the same for everybody.
CACHED = ("api/docs", "api/openapi.json")
# Pages of programs embed these images: signed URLs, or a public description.
EMBEDDED = "v3/images/"


def test_every_route_has_all_headers_with_every_status(route_values: dict[str, str]) -> None:
    people, (_, key) = make_people(), list(make_keys().items())[3]
    wrong, statuses = [], set()
    for route in (*PAGES, *API):
        url = make_path(route, route_values)
        answers = [
            call(people["anonymous"], "GET", url),
            call(people["no role"], "GET", url),
            call(people["superuser"], "GET", url),
            call(people["no role"], "POST", url),
            call(people["anonymous"], "DELETE", url),
            call(Client(enforce_csrf_checks=True), "POST", url),
        ]
        if route in API:
            answers.append(call(Client(), "GET", url, **key))
        for answer in answers:
            statuses.add(answer.status_code)
            faults = find_faults(answer)
            if route in CACHED:
                faults = [fault for fault in faults if not fault.startswith("Cache-Control")]
            if EMBEDDED in route:
                faults = [fault for fault in faults if not fault.endswith("cross-origin")]
            if faults:
                wrong.append((route, answer.status_code, faults))
        if "logout" in route:
            people = make_people_again(people)
    assert wrong == [], "\n".join(map(str, wrong))
    assert {200, 302, 400, 403, 404, 405} <= statuses


def make_people_again(people: dict[str, Client]) -> dict[str, Client]:
    """Log the people in again after the route that logs them out."""
    for name in ("no role", "superuser"):
        people[name].force_login(User.objects.get(username=f"the {name}"))
    return people


@pytest.mark.parametrize("url", ["/healthz", "/readyz", "/nowhere", "/x" * 2000, "/%00"])
def test_answers_outside_the_routes_have_all_headers(url: str) -> None:
    assert find_faults(call(Client(), "GET", url)) == []


def break_down(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("broken on purpose")


urlpatterns = [path("broken/", login_not_required(break_down)), *urls.urlpatterns]
handler500 = urls.handler500


def test_server_error_has_all_headers(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    answer = call(Client(raise_request_exception=False), "GET", "/broken/")

    assert answer.status_code == 500
    assert find_faults(answer) == []


def test_static_file_has_all_headers_and_may_be_cached() -> None:
    faults = find_faults(call(Client(), "GET", "/static/css/base.css"))

    assert [fault for fault in faults if not fault.startswith("Cache-Control")] == []


def test_every_browser_feature_is_off() -> None:
    features = dict(part.strip().split("=") for part in PERMISSIONS_POLICY.split(","))

    assert set(features.values()) == {"()"}
    assert set(FEATURES) <= set(features)


def test_hsts_of_a_year_over_https(settings: Any) -> None:
    settings.SECURE_HSTS_SECONDS = 31_536_000
    answer = Client().get("/login/", secure=True)

    assert answer["Strict-Transport-Security"].startswith("max-age=31536000")
    assert django_settings.SECURE_HSTS_SECONDS == 31_536_000
