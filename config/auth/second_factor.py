"""Second factors that a role needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allauth.account.authentication import get_authentication_records
from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse

from config.auth.social import SINGLE_FACTOR

# Pages that lead to a second factor, or away from Loupe. Names of django-allauth have underscores.
OPEN = {
    "account_logout",
    "account_reauthenticate",
    "single-sign-on-again",
    "single-sign-on-continue",
    "saml-again",
}
REASON = "Your role needs a second factor. Set one up first."


def is_missing(request: HttpRequest, user: User) -> bool:
    """Return whether the person needs a second factor and has none.

    The query that loads the person has read both (config/auth/backend.py).
    """
    if not settings.MFA_REQUIRED_ROLES or getattr(user, "has_second_factor", False):
        return False
    roles = (getattr(user, "role_names", None) or "").split(",")
    # Superusers have the permissions of every role.
    if not user.is_superuser and set(roles).isdisjoint(settings.MFA_REQUIRED_ROLES):
        return False
    return not (settings.SSO_MFA and _is_strong_single_sign_on(request, user))


def _is_strong_single_sign_on(request: HttpRequest, user: User) -> bool:
    records = get_authentication_records(request, user)
    if request.session.get(SINGLE_FACTOR):
        return False
    return any(record["method"] == "socialaccount" for record in records)


class SecondFactorMiddleware:
    """A middleware that leads people without a second factor to set one up, if a role needs it.

    They can open nothing else. Pages that need no log-in, and API keys, are not affected.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], *_: Any
    ) -> HttpResponse | None:
        if not settings.MFA_REQUIRED_ROLES or not getattr(view, "login_required", True):
            return None
        user: Any = request.user
        if not user.is_authenticated or not is_missing(request, user):
            return None
        match = request.resolver_match
        name = match.view_name if match else ""  # with the namespace, if there is one
        if name in OPEN or name.startswith("mfa_"):
            return None
        return _lead_to_setup(request)


def _lead_to_setup(request: HttpRequest) -> HttpResponse:
    url = reverse("mfa_index")
    if request.headers.get("HX-Request") == "true":
        return HttpResponse(status=204, headers={"HX-Redirect": url})
    if request.headers.get("Accept", "").startswith("application/json"):
        return JsonResponse({"error": "second_factor_required", "message": REASON}, status=403)
    if request.method in {"GET", "HEAD"}:
        return HttpResponseRedirect(url)
    return HttpResponse(f"{REASON}\n", status=403, content_type="text/plain; charset=utf-8")
