"""Publication of the head of the record, and the comparison that finds a replaced record."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.management import CommandError
from django.utils import timezone

from generation import jobs
from moderation.models import ChainHead, Chore, Decision, PublishedHead, Verdict
from moderation.services import decisions, housekeeping, published_heads
from moderation.services.verification import verify_record
from tests.moderation.api.calls import run_local_server
from tests.moderation.page_helpers import ClientOf, MakeReview
from tests.moderation.record_helpers import rebuild_chain, without_triggers
from tests.moderation.test_commands import run_command

Status = PublishedHead.Status
KEY = "a key of the head, only for these tests: 0123456789 abcdefgh"


@pytest.fixture
def heads_file(tmp_path: Path, settings: Any) -> Path:
    path = tmp_path / "heads.jsonl"
    settings.HEAD_PUBLISH_FILE = path
    settings.HEAD_SIGNING_KEY = KEY
    return path


def decide(make_review: MakeReview, user: User, count: int = 1) -> None:
    for number in range(count):
        review = make_review()
        decisions.claim(review=review, user=user)
        decisions.decide(review=review, user=user, verdict=Verdict.APPROVE, note=f"note {number}")


def forge_note(row: Decision) -> None:
    if row.sequence == 2:
        row.note = "forged"


def test_replaced_record_passes_the_chain_and_fails_against_published_heads(
    make_review: MakeReview, moderator: User, heads_file: Path, tmp_path: Path
) -> None:
    decide(make_review, moderator, 3)
    assert "decision 3" in run_command("publish_head")
    kept = tmp_path / "kept elsewhere.jsonl"
    kept.write_bytes(heads_file.read_bytes())
    decide(make_review, moderator)

    rebuild_chain(forge_note, forgets_heads=True)
    heads_file.unlink()

    assert verify_record()[1] == []
    with pytest.raises(CommandError, match=r"Decision 3 has another hash .*line 1 of kept else"):
        run_command("verify_decisions", "--heads", str(kept))


def test_stored_heads_and_earlier_verifications_find_a_replaced_record(
    make_review: MakeReview, moderator: User, heads_file: Path
) -> None:
    decide(make_review, moderator, 2)
    run_command("publish_head")
    assert "Compared with 2 earlier heads" in run_command("verify_decisions")

    rebuild_chain(forge_note)

    origins = ("file", "an earlier verification", "line 1 of heads.jsonl")
    verification, faults = verify_record()
    assert [any(f"({origin})" in fault for fault in faults) for origin in origins] == [True] * 3
    assert verification.faults == 3


def test_cut_record_is_found_by_a_published_head(
    make_review: MakeReview, moderator: User, heads_file: Path
) -> None:
    decide(make_review, moderator, 3)
    run_command("publish_head")

    with without_triggers():
        Decision.objects.get(sequence=3).delete()
        head = Decision.objects.get(sequence=2)
        ChainHead.objects.update(sequence=2, hash=head.hash)

    missing = [fault for fault in verify_record()[1] if fault.startswith("Decision 3 is missing.")]
    assert len(missing) == 2


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"sequence": 1}, "has a wrong signature"),
        ({"signature": None}, "is not signed"),
        ({"signature": {"key": "00000000", "value": ""}}, "is signed with an unknown key"),
        ({"hash": "short"}, "is no published head"),
    ],
)
def test_changed_line_of_a_file_is_reported(
    make_review: MakeReview,
    moderator: User,
    heads_file: Path,
    change: dict[str, Any],
    fault: str,
) -> None:
    decide(make_review, moderator, 2)
    run_command("publish_head")
    heads_file.write_text(json.dumps(json.loads(heads_file.read_text()) | change) + "\n")

    assert f"Line 1 of heads.jsonl {fault}." in verify_record()[1]


def test_head_signed_with_an_earlier_key_is_valid(
    make_review: MakeReview, moderator: User, heads_file: Path, settings: Any
) -> None:
    decide(make_review, moderator)
    run_command("publish_head")
    settings.HEAD_SIGNING_KEY, settings.HEAD_SIGNING_KEY_FALLBACKS = KEY[::-1], [KEY]
    run_command("publish_head")

    assert verify_record()[1] == []
    keys = [json.loads(line)["signature"]["key"] for line in heads_file.read_text().splitlines()]
    assert keys == [published_heads.name_key(KEY), published_heads.name_key(KEY[::-1])]


def test_interrupted_line_does_not_spoil_the_next_one(
    make_review: MakeReview, moderator: User, heads_file: Path
) -> None:
    decide(make_review, moderator)
    heads_file.write_text('{"sequence": 1, "ha')

    run_command("publish_head")

    first, second = heads_file.read_text().splitlines()
    assert (first, json.loads(second)["sequence"]) == ('{"sequence": 1, "ha', 1)


def test_address_gets_the_signed_head_and_a_failure_is_tried_again(
    make_review: MakeReview, moderator: User, admin: User, settings: Any, client_of: ClientOf
) -> None:
    decide(make_review, moderator)
    with run_local_server() as server:
        server.replies = [503, 204]
        settings.HEAD_PUBLISH_URL = f"http://{server.address}/heads"
        settings.HEAD_SIGNING_KEY = KEY
        with pytest.raises(CommandError, match="Address: The server answered 503"):
            run_command("publish_head")
        row = PublishedHead.objects.get()
        assert row.status == Status.WAITING
        assert row.due_at is not None
        assert timedelta(seconds=50) < row.due_at - timezone.now() < timedelta(seconds=80)
        assert "The server answered 503" in client_of(admin).get("/").content.decode()

        PublishedHead.objects.update(due_at=timezone.now())
        jobs.find("publish_heads")()

    row.refresh_from_db()
    assert (row.status, row.error, row.due_at) == (Status.PUBLISHED, "", None)
    statement = json.loads(server.posts[-1].content)
    assert statement["hash"] == Decision.objects.get().hash
    assert published_heads.find_signature_fault(statement) == ""


def test_mail_names_hash_and_statement(
    make_review: MakeReview, moderator: User, settings: Any
) -> None:
    decide(make_review, moderator)
    settings.HEAD_PUBLISH_MAIL = ["audit@example.org"]

    run_command("publish_head")

    (sent,) = mail.outbox
    assert sent.to == ["audit@example.org"]
    assert Decision.objects.get().hash in sent.body
    assert json.loads(str(sent.body).strip().splitlines()[-1])["sequence"] == 1


@pytest.fixture
def refusing_mail_server() -> Iterator[int]:
    """Return the port of a mail server that greets every client with an error."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            client, _ = server.accept()
            with client:
                client.sendall(b"554 no service here\r\n")

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_refused_mail_waits_with_the_reason(
    make_review: MakeReview, moderator: User, settings: Any, refusing_mail_server: int
) -> None:
    decide(make_review, moderator)
    settings.HEAD_PUBLISH_MAIL = ["audit@example.org"]
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", refusing_mail_server

    with pytest.raises(CommandError, match=r"Mail: The mail was not accepted: .*554"):
        run_command("publish_head")

    assert PublishedHead.objects.get().status == Status.WAITING


def test_schedule_publishes_once_an_interval_and_replaces_waiting_heads(
    make_review: MakeReview, moderator: User, heads_file: Path, settings: Any
) -> None:
    settings.HEAD_PUBLISH_HOURS = 6
    decide(make_review, moderator)

    def run_chore() -> None:
        Chore.objects.update_or_create(name="head publication", defaults={"due_at": timezone.now()})
        housekeeping.run_due_chores(go_on=lambda: True)

    for _ in range(2):
        run_chore()
    assert PublishedHead.objects.count() == 1

    with without_triggers():
        PublishedHead.objects.update(created_at=timezone.now() - timedelta(hours=6))
    decide(make_review, moderator)
    run_chore()

    rows = PublishedHead.objects.order_by("pk").values_list("sequence", "status")
    assert list(rows) == [(1, Status.SUPERSEDED), (2, Status.WAITING)]


def test_nothing_is_published_without_a_target(make_review: MakeReview, moderator: User) -> None:
    decide(make_review, moderator)

    published_heads.order_if_scheduled()

    assert not PublishedHead.objects.exists()
    with pytest.raises(CommandError, match="Set HEAD_PUBLISH_FILE"):
        run_command("publish_head")
