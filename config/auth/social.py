"""Accounts of people who log in at the identity provider."""

from __future__ import annotations

import logging
import time
from typing import Any

from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from config.auth.adapters import AccountAdapter
from generation.core import recent_login
from moderation.services import single_sign_on, team
from moderation.services.single_sign_on import Identity, SignInError

log = logging.getLogger("loupe.login")

FOREIGN = "This answer does not belong to your log-in. Start again."
INVITATION = "invitation"  # in the session: the digest of the invitation that was opened
SINGLE_FACTOR = "single_factor_at_provider"  # in the session
# Values of `amr` for what a person knows, and for no question at all. Source: RFC 8176, 2
NO_SECOND_FACTOR = {"pwd", "pin", "kba", "geo", "rba", "wia", "user"}
FRESH = 300  # seconds; a provider that states the time of the log-in must state a recent one


class SocialAdapter(DefaultSocialAccountAdapter):
    """Checks of every return from the identity provider. Nobody signs up by a form."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return False

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,
        exception: Exception | None = None,
        extra_context: dict[str, Any] | None = None,
    ) -> None:
        """Log why somebody was not let in; show the reason if it is written for people."""
        log.warning("Single sign-on was refused: %s", str(exception or error)[:300])
        if extra_context is not None and isinstance(exception, PermissionDenied):
            extra_context["reason"] = str(exception)

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """Find or create the account, and let its roles follow the groups.

        Raises PermissionDenied, whose text is shown.
        """
        claims = _read_claims(sociallogin)
        process = sociallogin.state.get("process")
        if process == "redirect":
            _confirm(request, sociallogin, claims)
        elif process == "login":
            self._enter(request, sociallogin, claims)
        else:  # connecting by a link would let others tie their identity to an open session
            raise PermissionDenied("Accounts are not connected in this way.")

    def _enter(self, request: HttpRequest, sociallogin: Any, claims: dict[str, Any]) -> None:
        _note_strength(request, claims, is_oidc=sociallogin.account.provider != "saml")
        try:
            identity = _read_identity(sociallogin, claims)
            if sociallogin.is_existing:
                person: User = sociallogin.user
            else:
                digest = request.session.pop(INVITATION, "")
                person = single_sign_on.find_or_create(
                    identity, invitation=team.find_usable(digest) if digest else None
                )
                sociallogin.connect(request, person)
            single_sign_on.follow_groups(person, identity)
        except SignInError as error:
            raise PermissionDenied(str(error)) from error


def _read_claims(sociallogin: Any) -> dict[str, Any]:
    """Return what the provider says about the person, in the names of OpenID Connect.

    Raises PermissionDenied if the answer is not that to a question of this session. With SAML,
    ``config/auth/saml.py`` has checked this and translated the attributes.
    """
    found = sociallogin.account.extra_data
    if sociallogin.account.provider == "saml":
        return {**found["attributes"], **found["claims"]}
    id_token = found.get("id_token") or {}
    nonce = sociallogin.state.get("nonce")
    if not nonce or id_token.get("nonce") != nonce:
        raise PermissionDenied(FOREIGN)
    return {**id_token, **(found.get("userinfo") or {})}


def _note_strength(request: HttpRequest, claims: dict[str, Any], *, is_oidc: bool) -> None:
    """Note when and how the provider asked who the person is, as far as it says so.

    Raises PermissionDenied if a provider, which was asked for a log-in within ``max_age``, sends an
    earlier one. SAML has no such question.
    """
    request.session[SINGLE_FACTOR] = is_single_factor(claims)
    if "auth_time" not in claims:
        return
    at = float(claims["auth_time"])
    if is_oidc and time.time() - at > settings.SESSION_COOKIE_AGE + FRESH:
        raise PermissionDenied(
            f"Your log-in at {settings.SSO['name']} is more than {settings.SESSION_HOURS} hours"
            " old. Log out there, then log in again."
        )
    request.session[recent_login.AT_PROVIDER] = int(at)


def is_single_factor(claims: dict[str, Any]) -> bool:
    """Return whether the provider says that it asked for nothing but a password or the like."""
    found = claims.get("amr") or []
    methods = {str(each) for each in ([found] if isinstance(found, str) else found)}
    return bool(methods) and methods <= NO_SECOND_FACTOR


def _read_identity(sociallogin: Any, claims: dict[str, Any]) -> Identity:
    verified = [mail.email for mail in sociallogin.email_addresses if mail.verified]
    name = str(claims.get("preferred_username") or claims.get("email") or claims["sub"])
    return Identity(
        username=AccountAdapter().clean_name(name),
        email=verified[0] if verified else "",
        groups=single_sign_on.read_groups(claims),
    )


def _confirm(request: HttpRequest, sociallogin: Any, claims: dict[str, Any]) -> None:
    if not request.user.is_authenticated or sociallogin.user != request.user:
        raise PermissionDenied(f"You are another person at {settings.SSO['name']} than here.")
    if time.time() - float(claims.get("auth_time", time.time())) > FRESH:
        raise PermissionDenied("The identity provider did not ask who you are. Log out there.")
    recent_login.note_login(request)
    log.info("Confirmed: account %s, by single sign-on", request.user.pk)
