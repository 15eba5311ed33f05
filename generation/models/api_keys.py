"""API keys of programs, and their calls."""

from __future__ import annotations

import hashlib
import secrets
from datetime import date, datetime, timedelta
from typing import Any, Self
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

PREFIX = "lp"
WINDOW = timedelta(minutes=1)


class Scope(models.TextChoices):
    """A permission of an API key."""

    GENERATE = "generate", "Generate: submit requests and read their results"
    CLASSIFY = "classify", "Classify: classify images"
    READ = "read", "Read: list the key's own assets"
    READ_ALL = "read:all", "Read all: list every asset of this installation"


def hash_key(key: str) -> str:
    """Return the SHA-256 of a key.

    The key has 256 random bits, so a slow hash would add no protection.
    """
    return hashlib.sha256(key.encode()).hexdigest()


def make_webhook_secret() -> str:
    """Return 256 random bits as hexadecimal digits."""
    return secrets.token_hex(32)


def make_key_text() -> tuple[str, str]:
    """Return the beginning of a new key, which is stored, and the whole key, which is not."""
    hint = f"{PREFIX}_{secrets.token_hex(4)}"
    return hint, f"{hint}_{secrets.token_urlsafe(32)}"


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def usable(self) -> Self:
        """Return keys that are valid now; a key with an owner needs an active account."""
        current = Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now())
        owned = Q(owner__isnull=True) | Q(owner__is_active=True)
        return self.filter(current, owned, revoked_at__isnull=True)

    def authenticate(self, key: str) -> ApiKey | None:
        """Return the usable key that a caller sent, or None; a replaced text counts for a while.

        The lookup is by digest, so its timing reveals nothing about stored keys.
        """
        digest, rows = hash_key(key), self.usable().select_related("owner")
        return (
            rows.filter(digest=digest).first()
            or rows.filter(previous_digest=digest, previous_until__gt=timezone.now()).first()
        )


class ApiKey(models.Model):
    """An API key: hashed, scoped, revocable."""

    uuid = models.UUIDField("UUID", default=uuid4, unique=True, editable=False)
    name = models.CharField(max_length=120)
    # The first part of the key, so that people can tell keys apart. Only the caller knows the rest.
    hint = models.CharField(max_length=16, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    # The text before the last replacement, which still works until then.
    previous_digest = models.CharField(max_length=64, blank=True, editable=False)
    previous_until = models.DateTimeField(null=True, blank=True, editable=False)
    scopes = models.JSONField(default=list)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="api_keys",
    )
    # Signs our webhook calls for this key. Stored in clear text, because signing needs it; shown
    # only when it is created.
    webhook_secret = models.CharField(max_length=64, default=make_webhook_secret, editable=False)
    calls_per_minute = models.PositiveIntegerField(default=600)
    images_per_day = models.PositiveIntegerField(
        null=True, blank=True, help_text="Empty: no limit."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Calls are counted in windows of one minute that start with a call. Counted before the work:
    # counting finished calls would miss those in progress.
    minute_began_at = models.DateTimeField(null=True, blank=True, editable=False)
    calls_in_minute = models.PositiveIntegerField(default=0, editable=False)

    text = ""  # the full key; only set on a newly created instance, never stored

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        indexes = [
            models.Index(
                fields=["previous_digest"],
                name="api_key_previous",
                condition=~Q(previous_digest=""),
            )
        ]
        permissions = [("hold_api_key", "Can create, replace and revoke own API keys")]

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}…)"

    @classmethod
    def make(cls, **fields: Any) -> tuple[ApiKey, str]:
        """Create a key and return it with its full text, which is not stored."""
        hint, text = make_key_text()
        return cls.objects.create(hint=hint, digest=hash_key(text), **fields), text

    def has_scope(self, scope: str) -> bool:
        """Return whether the key has the scope.

        A scope that ends in ``:all`` includes the one without it.
        """
        return scope in self.scopes or f"{scope}:all" in self.scopes

    def rotate(self, grace: timedelta) -> str:
        """Replace the text of the key and return the new one; the old one works for ``grace``.

        Requests, assets and limits stay with the key. An even older text stops at once.
        """
        hint, text = make_key_text()
        until = timezone.now() + grace
        ApiKey.objects.filter(pk=self.pk).update(
            hint=hint,
            digest=hash_key(text),
            previous_digest=F("digest") if grace else "",
            previous_until=until if grace else None,
        )
        self.refresh_from_db()
        return text

    def rotate_webhook_secret(self) -> str:
        """Replace the secret immediately and return the new one."""
        self.webhook_secret = make_webhook_secret()
        self.save(update_fields=["webhook_secret"])
        return self.webhook_secret

    def take_call(self, now: datetime) -> bool:
        """Count a call if the current minute has one left.

        Each statement compares and counts, so concurrent calls cannot exceed the limit.
        """
        if not self.calls_per_minute:
            return False
        row = ApiKey.objects.filter(pk=self.pk)
        current = row.filter(
            minute_began_at__gt=now - WINDOW, calls_in_minute__lt=self.calls_per_minute
        )
        over = row.filter(Q(minute_began_at=None) | Q(minute_began_at__lte=now - WINDOW))
        return bool(
            current.update(calls_in_minute=F("calls_in_minute") + 1)
            or over.update(minute_began_at=now, calls_in_minute=1)
            # Another call has just started the minute.
            or current.update(calls_in_minute=F("calls_in_minute") + 1)
        )

    def seconds_to_wait(self, now: datetime) -> int:
        """Return the seconds until the current minute ends, at least 1."""
        began = ApiKey.objects.filter(pk=self.pk).values_list("minute_began_at", flat=True).first()
        left = (began or now) + WINDOW - now
        return min(max(int(left.total_seconds()) + 1, 1), int(WINDOW.total_seconds()))

    def revoke(self) -> None:
        """Revoke the key immediately and permanently. Idempotent."""
        ApiKey.objects.filter(pk=self.pk, revoked_at__isnull=True).update(revoked_at=timezone.now())
        self.refresh_from_db()


class ImagesOfDay(models.Model):
    """The number of images that a key has requested on one day.

    Counted before the work: a sum of finished calls would miss those in progress.
    """

    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="days")
    day = models.DateField()  # UTC
    images = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name = "image count of a day"
        verbose_name_plural = "image counts by day"
        constraints = [models.UniqueConstraint(fields=["key", "day"], name="images_once_per_day")]

    def __str__(self) -> str:
        return f"{self.images} images on {self.day}"

    @staticmethod
    def take_images(key: ApiKey, day: date, images: int) -> bool:
        """Count ``images`` if the key has them left.

        One statement compares and counts, so concurrent calls cannot exceed the limit.
        """
        limit = key.images_per_day
        fits = Q() if limit is None else Q(images__lte=limit - images)
        rows = ImagesOfDay.objects.filter(fits, key=key, day=day)
        if rows.update(images=F("images") + images):
            return True
        # The first images of the day need a row.
        ImagesOfDay.objects.bulk_create([ImagesOfDay(key=key, day=day)], ignore_conflicts=True)
        return bool(rows.update(images=F("images") + images))

    @staticmethod
    def refund_images(key: ApiKey, day: date, images: int) -> None:
        """Subtract images that were counted but not produced."""
        ImagesOfDay.objects.filter(key=key, day=day, images__gte=images).update(
            images=F("images") - images
        )

    @staticmethod
    def get_count(key: ApiKey, day: date) -> int:
        """Return the images counted for a key on a day."""
        return (
            ImagesOfDay.objects.filter(key=key, day=day).values_list("images", flat=True).first()
            or 0
        )


class ApiCall(models.Model):
    """One answered call, for debugging by the key's owner.

    Contains no body, no query string and no image URL.
    """

    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="calls")
    method = models.CharField(max_length=7)
    path = models.CharField(max_length=200)
    status = models.PositiveSmallIntegerField()
    reason = models.CharField(max_length=120, blank=True)
    images = models.PositiveSmallIntegerField(
        default=0, help_text="Images requested or classified."
    )
    duration_ms = models.PositiveIntegerField("duration (ms)", default=0)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "API call"
        indexes = [models.Index(fields=["key", "-created_at"], name="api_call_newest")]

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status}"
