"""The rows of the scorecard: a goal, and its tests. docs/scorecard.md explains them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Gate = Literal["C", "N", "R"]  # every commit, at night, before a release


@dataclass(frozen=True, slots=True)
class Row:
    """One goal. Without tests, ``reason`` says why it is not measured here.

    ``less`` names what the tests leave out of the goal, and is printed with the result.
    """

    id: str
    goal: str
    gate: Gate
    tests: tuple[str, ...] = ()
    reason: str = ""
    less: str = ""


ROWS = (
    Row(
        "S1",
        "every job killed at every effect, all invariants hold",
        "C",
        ("tests/faults/test_crash_points.py",),
    ),
    Row(
        "S2",
        "killed workers lose and double nothing (a few kills)",
        "N",
        ("tests/e2e/test_crashes.py", "tests/config/test_worker.py"),
        less="3 kinds of kill, not 500 kills",
    ),
    Row(
        "S3",
        "lost queue messages cost no work",
        "C",
        (
            "tests/config/test_worker.py::test_due_job_runs_after_every_queue_message_was_lost",
            "tests/faults/test_state_machine.py",
        ),
    ),
    Row(
        "S4",
        "a task delivered twice, in a row or at once, has the state of once",
        "C",
        ("tests/faults/test_state_machine.py", "tests/faults/test_parallel_tasks.py"),
        less="at once: one round of each job",
    ),
    Row(
        "S5",
        "settings of the queue; jobs run once",
        "C",
        ("tests/generation/test_jobs.py",),
        less="not 200 tasks",
    ),
    Row(
        "S6",
        "a task that kills its worker ends after three",
        "C",
        ("tests/faults/test_poison.py",),
        less="one poisoned image",
    ),
    Row(
        "S7",
        "wire faults end in a typed state",
        "C",
        ("tests/generation/test_fetching_wire.py", "tests/generation/providers"),
    ),
    Row(
        "S8",
        "bad requests get a 4xx",
        "C",
        ("tests/test_hostile_input.py", "tests/moderation/api/test_bodies.py"),
    ),
    Row(
        "S9",
        "the API answers generated bodies as its schema says",
        "N",
        ("tests/moderation/api/test_openapi.py",),
        less="25 requests for each operation",
    ),
    Row("S10", "no request to a private address", "C", ("tests/generation/test_fetching.py",)),
    Row("S11", "hostile images are judged within limits", "C", ("tests/generation/imaging",)),
    Row(
        "S12",
        "several people decide no image twice (threads)",
        "N",
        ("tests/moderation/test_contact_sheet.py", "tests/moderation/test_decisions.py"),
        less="threads, not 50 people on 2,000 images",
    ),
    Row(
        "S13",
        "altered records are refused or detected",
        "C",
        (
            "tests/moderation/test_audit_log.py",
            "tests/moderation/test_verification.py",
            "tests/moderation/test_published_heads.py",
        ),
    ),
    Row("S14", "every route, role and method as listed", "C", ("tests/permissions",)),
    Row(
        "S15",
        "CSRF, sessions, lock-out",
        "C",
        ("tests/config/test_middleware.py", "tests/config/auth"),
    ),
    Row(
        "S16", "no script from data", "C", ("tests/test_hostile_input.py", "tests/test_patterns.py")
    ),
    Row("S17", "the same headers on every answer", "C", ("tests/permissions/test_headers.py",)),
    Row(
        "S18",
        "settings of production pass check --deploy",
        "C",
        ("tests/config/test_install.py::test_deployment_check_warns_without_a_usable_classifier",),
        less="one of its warnings; make check runs all",
    ),
    Row(
        "S19",
        "secrets appear nowhere",
        "C",
        ("tests/test_secrets.py", "tests/config/test_canaries.py"),
    ),
    Row("S20", "exports hold no formula", "C", ("tests/moderation/test_exports.py",)),
    Row(
        "S21",
        "packages have hashes, licences and no known hole",
        "R",
        ("tests/deploy/test_audit.py", "tests/deploy/test_installed.py"),
        less="no limit of 40 packages",
    ),
    Row(
        "S22",
        "a full or failing disk or bucket loses nothing",
        "N",
        (
            "tests/generation/test_storage_faults.py",
            "tests/generation/test_bucket_faults.py",
            "tests/moderation/test_storage_faults.py",
        ),
    ),
    Row("S23", "a moved clock doubles nothing", "C", ("tests/faults/test_state_machine.py",)),
    Row("S24", "the database stops and returns", "N", ("tests/deploy/test_database.py",)),
    Row(
        "S25",
        "an expired image is renewed or reported",
        "N",
        ("tests/generation/test_downloading.py",),
        less="forced expiry, not 200 images under load",
    ),
    Row(
        "S26",
        "a week of work with faults",
        "R",
        reason="make soak runs it; docs/reliability.md has the minutes that were run",
    ),
    Row(
        "S27",
        "backup and restore",
        "R",
        ("tests/deploy/test_backup.py",),
        less="no limit of 15 minutes",
    ),
    Row(
        "S28",
        "upgrade with 10,000 rows and readers",
        "R",
        ("tests/moderation/test_large_upgrade.py",),
        less="two readers, no writers",
    ),
    Row(
        "S29",
        "nothing is billed without a press",
        "N",
        ("tests/faults/test_state_machine.py", "tests/generation/test_waiting.py"),
        less="one scripted provider",
    ),
    Row(
        "S30",
        "rate limits hold over all processes",
        "C",
        ("tests/generation/test_rates.py", "tests/moderation/api/test_limits.py"),
    ),
    Row(
        "S31",
        "a failing classifier approves nothing",
        "C",
        ("tests/moderation/classifiers/test_every_fault.py",),
    ),
    Row(
        "S32",
        "seeded bugs are caught",
        "R",
        ("tests/faults/test_seeded_bugs.py",),
        less="ten bugs, chosen by hand",
    ),
    Row(
        "S33",
        "ASVS 5.0 L2: each item has a status",
        "C",
        ("tests/test_asvs.py",),
        less="each item has a status; some are open",
    ),
)
