"""Stored images. Immutable: people see exactly what the classifiers judged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self
from uuid import uuid4

from django.conf import settings
from django.core.files.storage import Storage, storages
from django.db import models
from django.db.models import Q
from django.utils import timezone

from generation.core.urls import build_url
from generation.models.api_keys import ApiKey, Scope
from generation.models.requests import GenerationRequest

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User


def asset_storage() -> Storage:
    return storages["assets"]


class Source(models.TextChoices):
    """The origin of an asset."""

    TXT2IMG = "txt2img", "Text to image"
    UPLOAD = "upload", "Imported file"
    SCENARIO = "scenario", "Scenario"
    API = "api", "API"


class OriginalProblem(models.TextChoices):
    """Reasons for an asset without an original.

    The codes from ``structure`` on are those of NotClearedError.
    """

    NOT_KEPT = "not-kept", "The setting ORIGINALS keeps none"
    REMOVED = "removed", "Removed by the setting ORIGINALS"
    PURGED = "purged", "Removed for good with all files of the image"
    STRUCTURE = "structure", "The structure of the file is damaged or not fully understood"
    UNKNOWN_PART = "unknown-part", "The file has a part that Loupe does not know"
    COLOUR = "colour", "Viewers can show the colours of the file in different ways"
    HIDDEN_FRAMES = "hidden-frames", "Transparent frames can hide a picture"
    TOO_MANY_FRAMES = "too-many-frames", "The file has more frames than a person is shown"
    TOO_LARGE = "too-large", "The file is too large to show it whole to a person"
    PIXELS = "pixels", "The pixels could not be compared"


class AssetQuerySet(models.QuerySet["Asset"]):
    def visible_to(self, user: User | AnonymousUser) -> Self:
        """Return the assets that a person may see; none without the permission.

        Views load assets only through this method, so a forbidden asset looks like a missing one.
        """
        return (
            self
            if user.is_authenticated and user.has_perm("generation.view_asset")
            else self.none()
        )

    def with_original(self) -> Self:
        return self.exclude(original="")

    def with_files(self) -> Self:
        """Return the assets whose files are stored: all but the purged ones."""
        return self.filter(purged_at__isnull=True)

    def readable_by(self, key: ApiKey) -> Self:
        """Return the assets that an API key may read: all with READ_ALL, else its own."""
        return self if key.has_scope(Scope.READ_ALL) else self.filter(api_key=key)


class Asset(models.Model):
    """A stored image with its origin, hashes and files."""

    uuid = models.UUIDField("UUID", default=uuid4, unique=True, editable=False)
    source = models.CharField(max_length=8, choices=Source)
    request = models.ForeignKey(
        GenerationRequest, null=True, blank=True, on_delete=models.PROTECT, related_name="assets"
    )
    position = models.PositiveSmallIntegerField(null=True, blank=True)

    # The canonical rendition: decoded once, upright, sRGB, without metadata. Classified, hashed and
    # shown.
    rendition = models.FileField(storage=asset_storage, max_length=200)
    image_type = models.CharField(max_length=4)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    size = models.PositiveIntegerField("bytes")
    sha256 = models.CharField("SHA-256", max_length=64, db_index=True)
    # Perceptual hash; null for images too flat to have one.
    pdq = models.BinaryField(max_length=32, null=True)
    pdq_quality = models.PositiveSmallIntegerField("PDQ quality", default=0)
    thumbnail = models.FileField(storage=asset_storage, max_length=200)
    # 8 pixels as a data: URL. Only this is sent before a person reveals the image.
    preview = models.TextField()

    # Properties of the original file.
    source_type = models.CharField("type of the received file", max_length=10)
    source_sha256 = models.CharField("SHA-256 of the received file", max_length=64)
    source_bytes = models.PositiveIntegerField("bytes of the received file")
    original_name = models.CharField(max_length=255, blank=True)
    frames = models.PositiveIntegerField(
        default=1, help_text="Frames of the received file. Only the first is kept and classified."
    )
    # The received file without location and personal metadata, delivered as made. Named by its own
    # SHA-256. Empty if there is none: original_problem says why.
    original = models.FileField(storage=asset_storage, max_length=200, blank=True)
    original_type = models.CharField("type of the original", max_length=4, blank=True)
    original_size = models.PositiveIntegerField("bytes of the original", null=True, blank=True)
    original_sha256 = models.CharField("SHA-256 of the original", max_length=64, blank=True)
    original_problem = models.CharField(
        max_length=20,
        blank=True,
        choices=OriginalProblem,
        help_text="Why the rendition is delivered instead of the original.",
    )
    differs = models.JSONField(
        "differences of the original",
        default=list,
        blank=True,
        help_text="How the original can look different: alpha, animation, colour, depth.",
    )
    views = models.JSONField(
        default=list, blank=True, help_text="Stored pictures of what the rendition does not show."
    )
    metadata = models.JSONField(default=dict, blank=True)
    seed = models.BigIntegerField(
        null=True, blank=True, help_text="Seed of this image, if the provider reports it."
    )
    external_id = models.CharField(
        "external ID",
        max_length=200,
        blank=True,
        help_text="Id of this image at its source.",
    )
    provider_url = models.TextField(
        "URL at the provider", blank=True, help_text="Without its signature."
    )
    url_expires_at = models.DateTimeField("URL expires at", null=True, blank=True)
    detection = models.JSONField(
        null=True, blank=True, help_text="Result of the provider's NSFW detection, unchanged."
    )
    detection_level = models.PositiveSmallIntegerField(null=True, blank=True)
    # The program that requested or uploaded the image.
    api_key = models.ForeignKey(
        ApiKey,
        verbose_name="API key",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="assets",
        db_index=False,
    )
    stored_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT
    )
    # db_default: servers of the version before insert rows without these columns.
    end_user = models.CharField(
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text="Id of the end user for whom a program requested or sent the image.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # The files are removed for good, and the row is a tombstone. The names of the files are cleared
    # once they are deleted (generation/services/purging.py).
    purged_at = models.DateTimeField(
        "removed at", null=True, blank=True, help_text="When the files were removed for good."
    )
    purge_reason = models.CharField(
        "reason of the removal", max_length=300, blank=True, default="", db_default=""
    )
    purged_parts = models.CharField(
        "removed parts",
        max_length=30,
        blank=True,
        default="",
        db_default="",
        help_text="Of a removed image: files, and texts and hashes if they were removed too.",
    )

    objects = AssetQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="asset_newest"),
            models.Index(
                fields=["seed", "-id"], name="asset_seed", condition=Q(seed__isnull=False)
            ),
            models.Index(fields=["source_sha256"], name="asset_source_file"),
            models.Index(
                fields=["api_key", "-created_at", "-id"],
                name="asset_of_key",
                condition=Q(api_key__isnull=False),
            ),
            # Housekeeping looks for kept originals, and for other assets with the same file.
            models.Index(
                fields=["original_sha256"], name="asset_original", condition=~Q(original="")
            ),
            models.Index(
                fields=["end_user", "-id"], name="asset_end_user", condition=~Q(end_user="")
            ),
            models.Index(
                fields=["purged_at"], name="asset_purged", condition=Q(purged_at__isnull=False)
            ),
            # Tombstones whose files are not deleted yet.
            models.Index(
                fields=["id"],
                name="asset_purge_unfinished",
                condition=Q(purged_at__isnull=False) & ~Q(thumbnail=""),
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["request", "position"], name="asset_one_per_position"),
            models.UniqueConstraint(
                fields=["source_sha256"], name="asset_imported_once", condition=Q(source="upload")
            ),
            models.UniqueConstraint(
                fields=["source", "external_id"],
                name="asset_once_per_external_id",
                condition=~Q(external_id=""),
            ),
            models.CheckConstraint(
                name="asset_source_known",
                condition=Q(source__in=["txt2img", "upload", "scenario", "api"]),
            ),
            models.CheckConstraint(
                name="asset_position_iff_request",
                condition=Q(request__isnull=True, position__isnull=True)
                | Q(request__isnull=False, position__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"Asset {self.short_id}"

    @property
    def short_id(self) -> str:
        return str(self.uuid)[:8]

    @property
    def number(self) -> int | None:
        """Return the 1-based position among the images of the request."""
        return None if self.position is None else self.position + 1

    @property
    def is_purged(self) -> bool:
        """Return whether the files are removed for good. ``purge_reason`` says why."""
        return self.purged_at is not None

    @property
    def why_no_original(self) -> str:
        """Return the reason in words; "" if there is an original."""
        if self.original:
            return ""
        return (
            str(self.get_original_problem_display())
            or "The image was stored before Loupe kept originals"
        )

    @property
    def file_url(self) -> str:
        return build_url("generation:asset-file", self.uuid)

    @property
    def thumbnail_url(self) -> str:
        return build_url("generation:asset-thumbnail", self.uuid)
