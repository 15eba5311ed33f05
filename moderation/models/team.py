"""The team: invitations, sessions, last activity, and the events of its people."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Any, Self
from uuid import uuid4

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import models
from django.db.models import Q
from django.utils import timezone

INVITATION_LASTS = timedelta(days=3)
RESET_LASTS = timedelta(hours=4)


def hash_token(token: str) -> str:
    """Return the SHA-256 of a token, which has 256 random bits and needs no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def open(self) -> Self:
        """Return invitations whose link still works."""
        return self.filter(
            accepted_at__isnull=True, revoked_at__isnull=True, expires_at__gt=timezone.now()
        )


class Invitation(models.Model):
    """A link that works once: it makes an account, or sets the password of an existing one."""

    class Kind(models.TextChoices):
        ACCOUNT = "account", "New account"
        PASSWORD = "password", "New password"

    uuid = models.UUIDField("UUID", default=uuid4, unique=True, editable=False)
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.ACCOUNT)
    # Only the link contains the token.
    digest = models.CharField(max_length=64, unique=True, editable=False)
    email = models.EmailField(blank=True)
    roles = models.JSONField(default=list)
    # Of a new password: whose. Of an accepted invitation: the new account.
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="invitations",
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="invitations_sent"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = InvitationQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(
                fields=["expires_at"],
                name="invitation_open",
                condition=Q(accepted_at__isnull=True, revoked_at__isnull=True),
            )
        ]
        constraints = [
            models.CheckConstraint(
                name="invitation_kind_known", condition=Q(kind__in=["account", "password"])
            ),
            models.CheckConstraint(
                name="invitation_password_has_person",
                condition=Q(kind="account") | Q(person__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.email or self.person or self.uuid}"

    @classmethod
    def make(cls, **fields: Any) -> tuple[Invitation, str]:
        """Create an invitation and return it with its token, which is not stored."""
        token = secrets.token_urlsafe(32)
        lasts = RESET_LASTS if fields.get("kind") == cls.Kind.PASSWORD else INVITATION_LASTS
        made = cls.objects.create(
            digest=hash_token(token), expires_at=timezone.now() + lasts, **fields
        )
        return made, token


class BrowserSession(models.Model):
    """A browser in which a person is logged in. Ends with Django's session."""

    uuid = models.UUIDField("UUID", default=uuid4, unique=True, editable=False)
    session = models.OneToOneField(
        Session, on_delete=models.CASCADE, related_name="browser", db_constraint=False
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="browser_sessions"
    )
    user_agent = models.CharField(max_length=300, blank=True)
    ip_address = models.GenericIPAddressField(null=True, blank=True)
    methods = models.CharField(
        max_length=100,
        blank=True,
        default="",
        db_default="",
        help_text="Methods of the log-in: password, app.",
    )
    created_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now, help_text="Up to five minutes old.")

    def __str__(self) -> str:
        return f"Session of {self.user} since {self.created_at:%Y-%m-%d %H:%M}"


class LastActivity(models.Model):
    """The time of a person's last request, up to five minutes old. Seen by managers only."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="last_activity"
    )
    seen_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "last activities"

    def __str__(self) -> str:
        return f"{self.user}: {self.seen_at:%Y-%m-%d %H:%M}"


class TeamEvent(models.Model):
    """A change of the team: who changed whose access, and how. Append-only, by triggers."""

    class Kind(models.TextChoices):
        INVITED = "invited", "Invited"
        REVOKED = "revoked", "Revoked the invitation"
        JOINED = "joined", "Accepted the invitation"
        ROLES = "roles", "Changed the roles"
        DEACTIVATED = "deactivated", "Deactivated"
        REACTIVATED = "reactivated", "Reactivated"
        RESET = "reset", "Made a link for a new password"
        PASSWORD = "password", "Set a new password by link"
        SESSIONS = "sessions", "Ended sessions"
        KEY = "key", "Changed an API key"
        FACTORS = "factors", "Reset the second factors"

    kind = models.CharField(max_length=11, choices=Kind)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="team_events_caused"
    )
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.PROTECT,
        related_name="team_events",
    )
    details = models.CharField(max_length=400, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        permissions = [("manage_team", "Can invite people, set their roles and end their sessions")]

    def __str__(self) -> str:
        return f"{self.actor} {self.phrase} {self.person or ''}".strip()

    @property
    def phrase(self) -> str:
        """The kind as the middle of a sentence."""
        label = self.get_kind_display()
        return label[:1].lower() + label[1:]
