"""Limits on log-in attempts, counted in the database for all processes."""

from __future__ import annotations

from typing import Any

from axes.attempts import get_cool_off_threshold
from axes.handlers.database import AxesDatabaseHandler
from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import Sum
from django.http import HttpRequest


class LoginLimits(AxesDatabaseHandler):
    """Wrong passwords for one name from one address, and those from one address for any names.

    The second limit stops somebody who tries one password on many names. A name alone is never
    locked, because then anybody could lock a moderator out.
    """

    def is_locked(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> bool:
        return super().is_locked(request, credentials) or self._is_address_locked(request)

    def _is_address_locked(self, request: Any) -> bool:
        if not settings.LOGIN_FAILURES_PER_ADDRESS:
            return False
        attempts = AccessAttempt.objects.filter(
            ip_address=request.axes_ip_address, attempt_time__gte=get_cool_off_threshold(request)
        )
        failures = attempts.aggregate(count=Sum("failures_since_start"))["count"] or 0
        return bool(failures >= settings.LOGIN_FAILURES_PER_ADDRESS)
