"""Shadows: versions of the policy that judge new images beside the one in force.

A settlement leaves a check if a shadow runs. A job judges the image by the same stored results,
counts both outcomes, and keeps the images on which they differ. No review changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from moderation.models import (
    Policy,
    PolicyShadow,
    ShadowCheck,
    ShadowCount,
    ShadowResult,
)
from moderation.services.policy_snapshots import read_snapshot, take_snapshot
from moderation.services.trial_evidence import Image, Judge, Part, Reader

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SHADOWS_MAX: Final = 2
BATCH: Final = 100
LEASE: Final = timedelta(seconds=60)
_ALWAYS: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ShadowError(Exception):
    """A shadow that cannot be started. ``str(error)`` is a message for people."""


def find_running(policy: Policy) -> PolicyShadow | None:
    return PolicyShadow.objects.filter(policy=policy, ended_at__isnull=True).first()


@transaction.atomic
def start(*, policy: Policy, user: User | None) -> PolicyShadow:
    """Let a version judge new images from now on, as it is now. Raises ShadowError."""
    # One lock for all shadows: two people together may not exceed the limit.
    Policy.objects.select_for_update().get(is_active=True)
    if policy.is_active:
        raise ShadowError("This version is in force already.")
    running = PolicyShadow.objects.filter(ended_at__isnull=True)
    if running.filter(policy=policy).exists():
        raise ShadowError("This version runs as a shadow already.")
    if running.count() >= SHADOWS_MAX:
        raise ShadowError(f"{SHADOWS_MAX} shadows run already. End one of them first.")
    return PolicyShadow.objects.create(
        policy=policy, snapshot=take_snapshot(policy), started_by=user
    )


def end(*, policy: Policy, reason: str) -> bool:
    """End the shadow of a version; return whether one ran. Its figures stay."""
    rows = PolicyShadow.objects.filter(policy=policy, ended_at__isnull=True)
    return bool(rows.update(ended_at=timezone.now(), end_reason=reason))


def run_due(*, go_on: Callable[[], bool]) -> None:
    """Judge the settled reviews that wait for the shadows."""
    while go_on():
        claimed = ShadowCheck.objects.claim(limit=BATCH, lease=LEASE)
        if not claimed:
            return
        with transaction.atomic():
            held = ShadowCheck.objects.filter(
                pk__in=[row.pk for row in claimed], lease=claimed[0].lease
            )
            outcomes = dict(held.select_for_update().values_list("review", "outcome"))
            if outcomes:
                _judge(outcomes)
            held.delete()


def _judge(outcomes: dict[int, str]) -> None:
    """Judge reviews, given with the outcome of the policy in force."""
    shadows = list(PolicyShadow.objects.filter(ended_at__isnull=True))
    if not shadows:
        return
    policies = [read_snapshot(shadow.snapshot) for shadow in shadows]
    part = Part(chosen=tuple(outcomes))
    images = Reader(policies, {}, since=_ALWAYS).read(part)
    for shadow, policy in zip(shadows, policies, strict=True):
        _store(shadow, Judge(policy), images, outcomes)


def _store(
    shadow: PolicyShadow, judge: Judge, images: list[Image], outcomes: dict[int, str]
) -> None:
    now = timezone.now()
    counts: Counter[tuple[str, str]] = Counter()
    for image in images:
        old, new = outcomes[image.pk], judge.settle(image.kind).outcome.value
        counts[old, new] += 1
        if old == new:
            # It may have differed when it was settled before.
            ShadowResult.objects.filter(shadow=shadow, review=image.pk).delete()
            continue
        ShadowResult.objects.update_or_create(
            shadow=shadow,
            review_id=image.pk,
            defaults={"old": old, "new": new, "created_at": now},
        )
    hour = now.replace(minute=0, second=0, microsecond=0)
    for (old, new), images_count in counts.items():
        row, _ = ShadowCount.objects.get_or_create(shadow=shadow, hour=hour, old=old, new=new)
        ShadowCount.objects.filter(pk=row.pk).update(images=F("images") + images_count)
