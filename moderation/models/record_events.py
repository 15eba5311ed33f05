"""Events of the record: all that decides outcomes besides decisions, in a chain of their own.

Both chains are appended to under the lock of the chain head. An event names the last decision
before it, and a decision covers the hash of the last event before it, so neither can be changed
without the other.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils import timezone

from moderation import record_keys


class RecordEvent(models.Model):
    """An entry of the chain of events, signed with the key of the record."""

    class Kind(models.TextChoices):
        SEAL = "seal", "Record sealed"
        KEY = "key", "Key changed"
        POLICY = "policy", "Policy put into force"
        ACCESS = "access", "Access of a person changed"
        ROLE = "role", "Permissions of a role changed"
        VERIFICATION = "verification", "Record verified"
        HEAD = "head", "Head published"
        ROWS = "rows", "Rows noted"
        HOLD = "hold", "Legal hold changed"
        PURGE = "purge", "Images purged"
        HASH_LIST = "hash list", "Hash list changed"
        LEARNED_HEAD = "learned head", "Learned head changed"

    sequence = models.BigIntegerField(unique=True)
    kind = models.CharField(max_length=20, choices=Kind)
    # Of a kind with a state: whose. The newest event of a subject has its state.
    subject = models.CharField(max_length=150, blank=True)
    payload = models.JSONField(default=dict)
    decisions = models.BigIntegerField(help_text="Last decision before the event.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    key_id = models.CharField("key", max_length=8)
    previous_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64)

    class Meta:
        indexes = [
            models.Index(fields=["kind", "subject", "-sequence"], name="record_event_subject"),
            models.Index(fields=["decisions"], name="record_event_decisions"),
        ]

    def __str__(self) -> str:
        return f"Event {self.sequence}: {self.get_kind_display()}"

    def compute_hash(self, decision_hash: str) -> str:
        """Return the signature of this event. ``decision_hash``: of the last decision before it.

        Raises RecordKeyError.
        """
        content: dict[str, Any] = {
            "event": self.sequence,
            "previous": self.previous_hash,
            "key": self.key_id,
            "kind": self.kind,
            "subject": self.subject,
            "payload": self.payload,
            "decisions": self.decisions,
            "decision_hash": decision_hash,
            "created_at": self.created_at.isoformat(),
        }
        return record_keys.sign(content, record_keys.find_key(self.key_id))
