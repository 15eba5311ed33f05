"""Create and activate policies.

A policy that has been used never changes; a change is a new version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import DateTimeField, Max, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from moderation.models import (
    AskRule,
    EarnedTrust,
    Policy,
    PolicyActivation,
    PolicyProposal,
    PolicyRule,
)
from moderation.policy_engine import Thresholds
from moderation.services import policy_contents, reclassification, sealing, shadows
from moderation.services.policy_contents import list_settings as list_settings

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def is_draft(policy: Policy) -> bool:
    """Return whether a policy may still change: it was never in force."""
    return not policy.is_active and policy.activated_at is None


@transaction.atomic
def create(
    *,
    user: User | None,
    rules: Mapping[str, Thresholds],
    ask_rules: Iterable[AskRule] = (),
    earned_trusts: Iterable[EarnedTrust] = (),
    **values: Any,
) -> Policy:
    """Create a policy under the next version number. It is inactive."""
    newest = Policy.objects.aggregate(newest=Max("version"))["newest"] or 0
    policy = Policy.objects.create(version=newest + 1, created_by=user, **values)
    PolicyRule.objects.bulk_create(
        [
            PolicyRule(
                policy=policy,
                category=category,
                review_at=limits.review_at,
                blur_at=limits.blur_at,
                reject_at=limits.reject_at,
            )
            for category, limits in rules.items()
        ]
    )
    AskRule.objects.bulk_create(
        [
            AskRule(
                policy=policy,
                classifier=rule.classifier,
                asks_from=rule.asks_from,
                skips_rejected=rule.skips_rejected,
                sources=rule.sources,
                share=rule.share,
            )
            for rule in ask_rules
        ]
    )
    EarnedTrust.objects.bulk_create(
        [
            EarnedTrust(
                policy=policy,
                classifier=row.classifier,
                category=row.category,
                misses_max=row.misses_max,
                days=row.days,
            )
            for row in earned_trusts
        ]
    )
    return policy


def create_version(
    *,
    based_on: Policy,
    user: User | None,
    rules: Mapping[str, Thresholds] | None = None,
    **changes: Any,
) -> Policy:
    """Copy a policy with changes under the next version number. The copy is inactive.

    The summary is not copied: it describes one version.
    """
    if rules is None:
        rules = {
            rule.category: Thresholds(
                review_at=rule.review_at, blur_at=rule.blur_at, reject_at=rule.reject_at
            )
            for rule in based_on.rules.all()
        }
    values = {name: getattr(based_on, name) for name in list_settings()} | changes
    return create(
        user=user,
        rules=rules,
        ask_rules=based_on.ask_rules.all(),
        earned_trusts=based_on.earned_trusts.all(),
        **values,
    )


def create_rollback(*, based_on: Policy, user: User) -> Policy:
    """Copy an older version to go back to it. The copy has a number of its own."""
    return create_version(
        based_on=based_on, user=user, note=f"Goes back to version {based_on.version}."
    )


@transaction.atomic
def activate(
    *, policy: Policy, user: User | None, proposal: PolicyProposal | None = None
) -> PolicyActivation:
    """Put a policy into force and record it. A job then applies it to the waiting images.

    The event has the changes from what was in force, and the author and reason of the proposal.
    Earlier decisions keep their policy version.
    """
    now = timezone.now()
    previous = Policy.objects.filter(is_active=True).select_for_update().first()
    event = PolicyActivation.objects.create(
        policy=policy,
        activated_by=user,
        created_at=now,
        previous=previous,
        proposal=proposal,
        author=proposal.author if proposal else user,
        reason=proposal.reason if proposal else "",
        changes=[change.to_json() for change in policy_contents.compare(previous, policy)],
    )
    Policy.objects.filter(is_active=True).exclude(pk=policy.pk).update(is_active=False)
    Policy.objects.filter(pk=policy.pk).update(
        is_active=True, activated_at=Coalesce("activated_at", Value(now, DateTimeField()))
    )
    policy.refresh_from_db()
    sealing.note_activation(event)
    shadows.end(policy=policy, reason="It was put into force.")
    reclassification.order_resettlement(user=user)
    return event
