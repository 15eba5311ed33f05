"""Put a draft into force: one person proposes it for a reason, a second person approves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from generation.models import InvalidTransitionError
from moderation.models import Policy, PolicyActivation, PolicyProposal
from moderation.services import policies, policy_contents

Status = PolicyProposal.Status
LEASE: Final = timedelta(seconds=60)
EDITED: Final = "The draft was changed after it was proposed."
REPLACED: Final = "The draft was proposed again."


class ProposalError(Exception):
    """A step of a proposal that is not possible now; the message is for policy leads."""


def needs_second_person() -> bool:
    """Return whether somebody other than the author must approve.

    Superusers may approve, but do not count: an installation creates one, who leads no policy.
    """
    match settings.POLICY_NEEDS_SECOND_PERSON:
        case "always":
            return True
        case "never":
            return False
    permission = Permission.objects.filter(
        codename="activate_policy", content_type__app_label="moderation"
    )
    approvers = User.objects.filter(
        Q(groups__permissions__in=permission) | Q(user_permissions__in=permission),
        is_active=True,
        is_superuser=False,
    )
    return len(approvers.values_list("pk").distinct()[:2]) > 1


def may_approve(proposal: PolicyProposal, user: User) -> bool:
    """Return whether a user may approve a proposal: not their own, if a second person must."""
    if not user.has_perm("moderation.activate_policy"):
        return False
    return proposal.author_id != user.pk or not needs_second_person()


@transaction.atomic
def propose(
    *, policy: Policy, author: User, reason: str, starts_at: datetime | None = None
) -> PolicyProposal:
    """Propose a draft. It replaces an open proposal of the same draft."""
    locked = lock_draft(policy)
    if not reason.strip():
        raise ProposalError("Say why the policy should change.")
    if starts_at is not None and starts_at <= timezone.now():
        raise ProposalError("Choose a time in the future, or put it into force at once.")
    withdraw_open(policy=locked, user=author, comment=REPLACED)
    return PolicyProposal.objects.create(
        policy=locked,
        author=author,
        reason=reason.strip(),
        starts_at=starts_at,
        fingerprint=policy_contents.compute_fingerprint(locked),
    )


@transaction.atomic
def approve(*, proposal: PolicyProposal, user: User) -> PolicyActivation | None:
    """Approve a proposal. Return the event that put it into force; None if it is scheduled."""
    policy = lock_draft(proposal.policy)
    if not may_approve(proposal, user):
        raise ProposalError("A second person must approve this change: you proposed it.")
    if proposal.fingerprint != policy_contents.compute_fingerprint(policy):
        raise ProposalError(f"{EDITED} Propose it again.")
    now = timezone.now()
    if proposal.starts_at is not None and proposal.starts_at > now:
        _move(
            proposal,
            Status.SCHEDULED,
            approver=user,
            approved_at=now,
            due_at=proposal.starts_at,
        )
        return None
    _move(proposal, Status.APPLIED, approver=user, approved_at=now)
    return policies.activate(policy=policy, user=user, proposal=proposal)


@transaction.atomic
def send_back(*, proposal: PolicyProposal, user: User, comment: str) -> None:
    """Return a proposal to its author with a comment. The draft may then be changed."""
    if not comment.strip():
        raise ProposalError("Say what should be changed.")
    _move(
        proposal,
        Status.RETURNED,
        only_from=Status.PROPOSED,
        closed_by=user,
        closed_at=timezone.now(),
        comment=comment.strip(),
    )


@transaction.atomic
def cancel(*, proposal: PolicyProposal, user: User) -> None:
    """Withdraw a proposal that waits for approval or for its time."""
    _move(proposal, Status.WITHDRAWN, closed_by=user, closed_at=timezone.now(), due_at=None)


def withdraw_open(*, policy: Policy, user: User | None, comment: str) -> bool:
    """Withdraw the open proposal of a draft, if there is one; an approval is then void.

    The caller holds the lock of the policy.
    """
    return bool(
        PolicyProposal.objects.open()
        .filter(policy=policy)
        .update(
            status=Status.WITHDRAWN,
            closed_by=user,
            closed_at=timezone.now(),
            comment=comment,
            due_at=None,
        )
    )


@contextmanager
def edit_draft(*, policy: Policy, user: User, fingerprint: str) -> Iterator[Policy]:
    """Lock a draft to change it, and withdraw its open proposal.

    ``fingerprint``: of the contents that the editor saw. Raises ProposalError if they have changed,
    or if the policy is no draft any more.
    """
    with transaction.atomic():
        locked = lock_draft(policy)
        if fingerprint != policy_contents.compute_fingerprint(locked):
            raise ProposalError(
                "Somebody else changed this draft after you opened it. Open it again, then change"
                " it: your values are still below."
            )
        yield locked
        withdraw_open(policy=locked, user=user, comment=EDITED)


def lock_draft(policy: Policy) -> Policy:
    """Lock a draft until the end of the transaction. Raise ProposalError for any other policy."""
    locked = Policy.objects.select_for_update().get(pk=policy.pk)
    if not policies.is_draft(locked):
        raise ProposalError(
            f"Version {locked.version} has been in force, so it never changes. Make a draft of it."
        )
    return locked


def _move(proposal: PolicyProposal, status: Status, only_from: str = "", **fields: Any) -> None:
    try:
        proposal.move_to(status, only_from=only_from, **fields)
    except InvalidTransitionError as error:
        proposal.refresh_from_db()
        now = proposal.get_status_display()
        raise ProposalError(
            f"This proposal has changed in the meantime. Its state now: {now}."
        ) from error


# --- The job ---
def run_due(*, go_on: Callable[[], bool]) -> None:
    """Put the approved policies into force whose time has come, the earliest first."""
    while go_on():
        claimed = PolicyProposal.objects.claim(limit=1, lease=LEASE)
        if not claimed:
            return
        _apply(claimed[0])


@transaction.atomic
def _apply(proposal: PolicyProposal) -> None:
    policy = Policy.objects.select_for_update().get(pk=proposal.policy_id)
    is_unchanged = proposal.fingerprint == policy_contents.compute_fingerprint(policy)
    try:
        if policies.is_draft(policy) and is_unchanged:
            proposal.move_to(Status.APPLIED, only_from=Status.SCHEDULED, due_at=None)
            policies.activate(policy=policy, user=proposal.approver, proposal=proposal)
        else:
            proposal.move_to(
                Status.WITHDRAWN, closed_at=timezone.now(), comment=EDITED, due_at=None
            )
    except InvalidTransitionError:
        return  # somebody has cancelled it at this moment
