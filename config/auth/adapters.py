"""Loupe's choices in django-allauth: log-in, reauthentication and second factors."""

from __future__ import annotations

import logging
import threading
from smtplib import SMTPException
from typing import Any
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.urls import reverse

from generation.core import recent_login
from moderation.services import factor_secrets

log = logging.getLogger("loupe.login")

BACKEND = "config.auth.backend.Accounts"
MISMATCH = "User name and password do not match. Both are case-sensitive."


class AccountAdapter(DefaultAccountAdapter):
    """Accounts that operators, the identity provider or SCIM create; nobody signs up."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "username_password_mismatch": MISMATCH,
        "incorrect_password": "That is not your password.",
        "too_many_login_attempts": "Too many wrong attempts. Wait five minutes, then try again.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Count nothing here: django-axes counts wrong passwords by name and address.

        django-allauth would count them by name alone, which lets anybody lock a person out.
        """

    def clean_name(self, name: str) -> str:
        """Return a valid user name from the name at an identity provider."""
        kept = "".join(
            character for character in name if character.isalnum() or character in "@.+-_"
        )
        return kept[:140] or "person"

    def login(self, request: HttpRequest, user: User) -> None:
        login(request, user, backend=BACKEND)

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        return not recent_login.is_recent(context.request)

    def get_reauthentication_methods(self, user: Any) -> list[dict[str, Any]]:
        """Return the ways in which a person can prove who they are; the first is the default."""
        found: list[dict[str, Any]] = super().get_reauthentication_methods(user)
        names = {
            "reauthenticate": "Use your password",
            "mfa_reauthenticate": "Use a code from your app, or a recovery code",
            "mfa_reauthenticate:webauthn": "Use a passkey",
        }
        for method in found:
            method["description"] = names.get(method["id"], method["description"])
        sso = settings.SSO
        if sso and SocialAccount.objects.filter(user=user, provider=sso["provider"]).exists():
            found.append(
                {
                    "id": "single-sign-on",
                    "description": f"Use {sso['name']}",
                    "url": reverse(sso["again"]),
                }
            )
        return found

    def get_reset_password_from_key_url(self, key: str) -> str:
        """Return the link of a mail. Its host is ours, whatever the request says."""
        uid, _, token = key.partition("-")
        path = reverse("account_reset_password_from_key", kwargs={"uidb36": uid, "key": token})
        return f"{settings.PUBLIC_URL}{path}"

    def send_password_reset_mail(self, user: User, email: str, context: dict[str, Any]) -> None:
        """Send a link, unless the account has no password because an identity provider has it."""
        if user.has_usable_password():
            super().send_password_reset_mail(user, email, context)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send a mail in a thread: the time of the answer must not tell who has an account."""
        message = self.render_mail(template_prefix, email, context)
        threading.Thread(target=_send, args=(message,), name="login-mail", daemon=True).start()


def _send(message: Any) -> None:
    try:
        message.send()
    except (SMTPException, OSError):
        log.exception("A mail of the log-in was not sent")


class MfaAdapter(DefaultMFAAdapter):
    """Second factors, with the names that Loupe uses."""

    error_messages = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": "That code is wrong or was used before. Wait for the next one.",
        "unreadable_secret": (
            "This server cannot read your second factor: a key is missing in its settings. Your"
            " code may be right. Tell an operator."
        ),
    }

    def encrypt(self, text: str) -> str:
        return factor_secrets.encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        """Return a secret in plain text. Raises ValidationError, which the form shows."""
        try:
            return factor_secrets.decrypt(encrypted_text)
        except factor_secrets.UnreadableSecretError as error:
            log.error("%s", error)
            raise self.validation_error("unreadable_secret") from error

    def get_totp_label(self, user: User) -> str:
        return str(user.get_username())

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """Return whose passkeys these are: behind a proxy the Host header may be another."""
        entity: dict[str, str] = super().get_public_key_credential_rp_entity()
        if settings.SECURE:
            entity["id"] = urlsplit(settings.PUBLIC_URL).hostname or entity["id"]
        return {**entity, "name": settings.MFA_TOTP_ISSUER}

    def generate_authenticator_name(self, user: User, type: Any) -> str:
        return "Passkey"
