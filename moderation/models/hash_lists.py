"""Hash lists: hashes of files that are blocked or allowed, whoever sends them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from django.conf import settings
from django.db import models
from django.utils import timezone

from generation.core.db.state_machine import one_of
from generation.models import image_search
from moderation import taxonomy

HASH_BYTES = 32  # SHA-256 and PDQ alike


class HashList(models.Model):
    """A named list of hashes: all block, or all allow."""

    class Kind(models.TextChoices):
        BLOCK = "block", "Block list"
        ALLOW = "allow", "Allow list"

    name = models.CharField(max_length=80, unique=True)
    kind = models.CharField(max_length=5, choices=Kind, default=Kind.BLOCK)
    note = models.TextField(blank=True, help_text="What the list is for.")
    source = models.CharField(
        max_length=200, blank=True, help_text="Where the hashes come from, such as an exchange."
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, editable=False
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    is_active = models.BooleanField(
        "in use", default=True, help_text="Off: the list is kept, and matches nothing."
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="hash_list_kind_known",
                condition=one_of("kind", ["block", "allow"]),
                violation_error_message="Choose a block list or an allow list.",
            )
        ]
        permissions = [("import_hash_list", "Can import and export hash lists")]

    def __str__(self) -> str:
        return self.name


class HashEntryQuerySet(models.QuerySet["HashEntry"]):
    def in_force(self) -> Self:
        return self.filter(hash_list__is_active=True).select_related("hash_list")

    def with_value(self, algorithm: str, values: Iterable[bytes]) -> Self:
        """Return the entries of these hashes, the oldest first."""
        return self.filter(value__in=list(values), algorithm=algorithm).order_by("pk")

    def nearest(self, pdq: bytes, *, within: int) -> list[tuple[HashEntry, int]]:
        """Return PDQ entries in force within a distance, nearest first, with the distance.

        Finds every entry: none is left out because many share a band.
        """
        keys = image_search.find_candidate_bands(pdq, within=within)
        rows = HashEntryBand.objects.filter(key__in=keys).values_list("entry", "entry__value")
        distances = {
            entry: image_search.count_different_bits(pdq, bytes(value)) for entry, value in rows
        }
        near = {entry: bits for entry, bits in distances.items() if bits <= within}
        entries = self.in_force().filter(pk__in=near) if near else ()
        return sorted(
            ((entry, near[entry.pk]) for entry in entries), key=lambda pair: (pair[1], pair[0].pk)
        )


class HashEntry(models.Model):
    """One hash on a list."""

    class Algorithm(models.TextChoices):
        SHA256 = "sha256", "SHA-256"
        PDQ = "pdq", "PDQ"

    hash_list = models.ForeignKey(HashList, on_delete=models.CASCADE, related_name="entries")
    algorithm = models.CharField(max_length=6, choices=Algorithm)
    value = models.BinaryField(max_length=HASH_BYTES)
    category = models.CharField(
        max_length=60,
        blank=True,
        choices=taxonomy.CHOICES,
        help_text="Reject reason. Empty: a match goes to a person.",
    )
    note = models.CharField(max_length=500, blank=True)
    external_id = models.CharField(
        max_length=200, blank=True, help_text="Id of the entry at its source."
    )
    added_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, editable=False
    )
    added_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = HashEntryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "hash entries"
        constraints = [
            models.UniqueConstraint(
                fields=["value", "algorithm", "hash_list"], name="hash_entry_once_a_list"
            ),
            models.CheckConstraint(
                name="hash_entry_algorithm_known",
                condition=one_of("algorithm", ["sha256", "pdq"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_algorithm_display()} {self.hex[:12]}…"

    @property
    def hex(self) -> str:
        return bytes(self.value).hex()


class HashEntryBand(models.Model):
    """One of the 16 bands of a PDQ entry, indexed for similarity search."""

    pk = models.CompositePrimaryKey("key", "entry_id")
    key = models.IntegerField()
    # Its own index serves the deletion of entries.
    entry = models.ForeignKey(HashEntry, on_delete=models.CASCADE, related_name="bands")

    def __str__(self) -> str:
        return f"Band {self.key >> image_search.BAND_BITS} of {self.entry}"
