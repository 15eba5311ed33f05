"""Methods of log-ins, such as password and app: for the log, and for the list of sessions."""

from __future__ import annotations

import logging
from typing import Any

from allauth.account.authentication import get_authentication_records
from django.http import HttpRequest

log = logging.getLogger("loupe.login")

NAMES = {
    "password": "password",
    "password_reset": "password link",
    "socialaccount": "single sign-on",
    "totp": "app",
    "recovery_codes": "recovery code",
    "webauthn": "passkey",
}


def _name(method: str, factor: str | None) -> str:
    found = factor if method == "mfa" and factor else method
    return NAMES.get(found, found)


def describe_methods(request: HttpRequest, user: Any) -> str:
    """Return what a person logged in with, such as ``password, app``; "" if that is not known."""
    records = get_authentication_records(request, user)
    names = [
        _name(record["method"], record.get("type"))
        for record in records
        if not record.get("reauthenticated")
    ]
    return ", ".join(dict.fromkeys(names))


def log_step(
    user: Any, method: str, type: str | None = None, reauthenticated: bool = False, **_: Any
) -> None:
    """Receive ``authentication_step_completed``: one step of a log-in, or one to confirm it."""
    action = "Confirmed" if reauthenticated else "Step of a log-in"
    log.info("%s: account %s, by %s", action, user.pk, _name(method, type))


def log_wrong_code(user: Any, reauthentication: bool, **_: Any) -> None:
    """Receive ``authentication_failed`` of second factors."""
    log.warning("Refused: account %s, wrong code%s", user.pk, " to confirm" * reauthentication)
