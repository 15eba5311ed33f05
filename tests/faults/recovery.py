"""The recovery after a crash: leases end, and the jobs run until nothing is due."""

from __future__ import annotations

import threading
from datetime import timedelta

from django.utils import timezone

import generation.tasks
import moderation.tasks
from generation.jobs import Job
from generation.models import GenerationRequest, JobSlot, RemoteImage
from moderation.models import (
    AlarmNotice,
    Classification,
    Delivery,
    Embedding,
    PolicyProposal,
    PolicyTrial,
    PromptTrial,
    PublishedHead,
    Reclassification,
    Resettlement,
    ShadowCheck,
    Verification,
)
from moderation.services.invariants import find_violations

# Rows that wait for work. Rows of periodic jobs are not among them: they are always due again.
WAITING = (
    GenerationRequest,
    RemoteImage,
    AlarmNotice,
    Classification,
    Delivery,
    Embedding,
    PolicyProposal,
    PolicyTrial,
    PromptTrial,
    PublishedHead,
    Reclassification,
    Resettlement,
    ShadowCheck,
    Verification,
)
JOBS: tuple[Job, ...] = (
    generation.tasks.submit,
    generation.tasks.reconcile,
    generation.tasks.poll,
    generation.tasks.fetch,
    moderation.tasks.classify,
    moderation.tasks.classify_remote,
    moderation.tasks.embed,
    moderation.tasks.reclassify,
    moderation.tasks.apply_policies,
    moderation.tasks.resettle,
    moderation.tasks.try_policies,
    moderation.tasks.judge_as_shadow,
    moderation.tasks.try_prompt_rules,
    moderation.tasks.deliver,
    moderation.tasks.verify,
    moderation.tasks.publish_heads,
    moderation.tasks.send_alarm_notices,
)
ROUNDS_MAX = 12


def end_leases() -> None:
    """Make every waiting row due and free every slot, as if the leases had ended."""
    wait_for_webhooks()
    now = timezone.now() - timedelta(seconds=1)
    JobSlot.objects.update(running_until=None, wanted_at=None)
    for model in WAITING:
        model._default_manager.filter(due_at__isnull=False).update(due_at=now)


def wait_for_webhooks() -> None:
    """Wait until the sandbox has called all webhooks."""
    for thread in threading.enumerate():
        if thread.name == "sandbox-webhook":
            thread.join(20)


def run_until_quiet() -> None:
    """Run the jobs until no row waits for work."""
    for _ in range(ROUNDS_MAX):
        end_leases()
        due = [job for job in JOBS if job.is_due()]
        if not due:
            return
        for job in due:
            job()
    left = [job.name for job in JOBS if job.is_due()]
    assert not left, f"still due after {ROUNDS_MAX} rounds: {left}"


def assert_invariants(context: object = "", *, files: bool = True) -> None:
    found = find_violations(files=files)
    assert not found, f"{context}: {found}"
