"""Alarms: when they open and close, and who is told."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.management import call_command
from django.utils import timezone

from generation.models import JobSlot, ProviderState, ServiceCall, StorageReport
from generation.services.service_calls import record_calls
from moderation.models import Alarm, AlarmNotice, Chore, PeriodCount, Review, Verification
from moderation.services import period_counts
from moderation.services.alarms import checks, notices
from moderation.services.alarms.conditions import CHECKS, find_all
from moderation.services.backups.folder import BackupFolder
from tests.config.test_outages import Away
from tests.moderation.page_helpers import MakeReview

pytestmark = pytest.mark.django_db
SECRET = "alarm-webhook-secret-of-the-tests-" + "0123456789" * 3
Kind = Alarm.Kind


class Clock:
    """The time that the checks see; it moves only by hand."""

    def __init__(self) -> None:
        self.now = timezone.now()

    def __call__(self) -> datetime:
        return self.now

    def move(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("django.utils.timezone.now", made)
    return made


@pytest.fixture(autouse=True)
def _quiet(settings: Any) -> None:
    """Let nothing be wrong but what a test breaks."""
    settings.ALARM_MAIL = ["ops@loupe.example"]
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"


def beat(clock: Clock) -> None:
    JobSlot.objects.update_or_create(
        name=JobSlot.WORKER,
        host="alpha",
        number=0,
        defaults={"running_until": clock.now + timedelta(seconds=60)},
    )


def check(clock: Clock, *, minutes: int = 1) -> list[str]:
    """Check each minute for some time, with a running worker; return the open alarms."""
    for _ in range(minutes):
        clock.move(minutes=1)
        beat(clock)
        found = checks.check_all()
        notices.send_due(go_on=lambda: True)
    return [alarm.title for alarm in found]


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]], list[int]]]:
    """Start an HTTP server: its URL, the calls that it got, and the statuses that it returns."""
    calls: list[tuple[dict[str, str], bytes]] = []
    statuses: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            calls.append((dict(self.headers), content))
            self.send_response(statuses.pop(0) if statuses else 204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/alarms", calls, statuses
    server.shutdown()
    server.server_close()


def fail_provider(clock: Clock) -> None:
    ProviderState.objects.update_or_create(
        slug="novita", defaults={"last_error_at": clock.now, "last_error": "refused our key"}
    )


def test_quiet_installation_has_no_alarm(clock: Clock) -> None:
    assert check(clock, minutes=5) == []
    assert not Alarm.objects.exists()
    assert mail.outbox == []


def test_alarm_opens_when_it_lasts_and_mails_once_at_start_and_end(clock: Clock) -> None:
    fail_provider(clock)

    assert check(clock) == []
    assert Alarm.objects.get().status == "suspected"
    assert check(clock, minutes=10) == ["A service fails: Novita detection"]
    assert [message.subject for message in mail.outbox] == [
        "Loupe: started: A service fails: Novita detection"
    ]
    assert "refused our key" in mail.outbox[0].body
    assert "To do:" in mail.outbox[0].body

    ProviderState.objects.update(last_success_at=clock.now)
    assert check(clock, minutes=2) == ["A service fails: Novita detection"]
    assert check(clock, minutes=10) == []
    assert [message.subject for message in mail.outbox][1:] == [
        "Loupe: ended: A service fails: Novita detection"
    ]


def test_short_trouble_tells_nobody(clock: Clock) -> None:
    fail_provider(clock)
    check(clock)
    ProviderState.objects.all().delete()

    check(clock, minutes=10)

    assert (mail.outbox, Alarm.objects.count()) == ([], 0)


def test_flapping_condition_is_one_alarm(clock: Clock) -> None:
    for _ in range(10):
        fail_provider(clock)
        check(clock, minutes=2)
        ProviderState.objects.all().delete()
        check(clock, minutes=2)

    assert Alarm.objects.count() == 1
    assert len(mail.outbox) == 1


def test_open_alarm_is_repeated_once_a_day(clock: Clock) -> None:
    Chore.objects.create(name="sessions", error="It failed.")
    check(clock, minutes=4)

    for _ in range(50):
        clock.move(minutes=59)
        check(clock)

    subjects = [message.subject.split(":")[1].strip() for message in mail.outbox]
    assert subjects == ["started", "still open", "still open"]


def test_queue_and_escalations_have_limits(
    clock: Clock, make_review: MakeReview, settings: Any
) -> None:
    waiting, escalated = make_review(), make_review()
    old = clock.now - timedelta(hours=30)
    Review.objects.update(created_at=old)
    Review.objects.filter(pk=escalated.pk).update(status="escalated")

    found = {finding.kind for finding in find_all()[0]}
    assert {Kind.QUEUE, Kind.ESCALATED} <= found

    settings.ALARM_QUEUE_MINUTES = settings.ALARM_ESCALATED_HOURS = 0
    assert not {Kind.QUEUE, Kind.ESCALATED} & {finding.kind for finding in find_all()[0]}
    assert waiting.pk


def test_silent_worker_is_named_and_forgotten_after_a_day(clock: Clock) -> None:
    JobSlot.objects.create(
        name=JobSlot.WORKER, host="beta", running_until=clock.now - timedelta(minutes=9)
    )
    beat(clock)

    (finding,) = [each for each in find_all()[0] if each.kind == Kind.WORKER]
    assert finding.subject == "beta"
    assert "10 minutes" in finding.message

    clock.move(days=2)
    beat(clock)
    assert not [each for each in find_all()[0] if each.kind == Kind.WORKER]


def test_no_worker_at_all_is_an_alarm(clock: Clock) -> None:
    (finding,) = [each for each in find_all()[0] if each.kind == Kind.WORKER]

    assert finding.message.startswith("No worker runs.")


def test_spending_is_compared_with_its_limit(clock: Clock, settings: Any) -> None:
    settings.SPENDING_LIMIT_PER_DAY = Decimal(10)
    period_counts.add_streams()
    record_calls("novita", ServiceCall.Kind.SUBMIT, ServiceCall.Outcome.DONE, cost=Decimal(9))
    period_counts.count_batch(period_counts.Stream.CALLS)
    assert PeriodCount.objects.exists()

    (finding,) = [each for each in find_all()[0] if each.kind == Kind.SPENDING]

    assert "9.00 of 10 USD" in finding.message


def test_storage_and_record_faults_are_alarms(clock: Clock) -> None:
    StorageReport.objects.create(host="alpha", seen_at=clock.now, error="The disk is full.")
    Verification.objects.create(
        status="finished", decisions=9, faults=2, finished_at=clock.now - timedelta(days=8)
    )

    found = {finding.kind: finding.message for finding in find_all()[0]}

    assert "The disk is full." in found[Kind.STORAGE]
    assert "2 faults" in found[Kind.FAULTS]
    assert "7 days" in found[Kind.UNVERIFIED]


def test_old_or_unreadable_backup_is_an_alarm(clock: Clock, settings: Any, tmp_path: Path) -> None:
    def find() -> list[str]:
        return [each.message for each in find_all()[0] if each.kind == Kind.BACKUP]

    assert find() == [], "no folder is set"
    settings.ALARM_BACKUP_FOLDER, settings.ALARM_BACKUP_HOURS = tmp_path / "backups", 26
    assert "cannot be read" in find()[0]

    folder = BackupFolder.prepare(tmp_path / "backups")
    assert "There is no backup" in find()[0]
    for hours, is_old in ((30, True), (2, False)):
        made = clock.now - timedelta(hours=hours)
        snapshot = folder.snapshots / f"{made:%Y%m%dT%H%M%S.%fZ}"
        snapshot.mkdir(parents=True)
        (snapshot / "manifest.json").write_text("{}")
        assert bool(find()) is is_old


@pytest.mark.parametrize("limit", ["VIEWS_PER_HOUR", "EXPORTS_PER_HOUR"])
def test_reached_limit_of_views_or_exports_is_an_alarm_without_names(
    clock: Clock,
    make_review: MakeReview,
    auditor: User,
    operator: User,
    client_of: Callable[[User], Any],
    settings: Any,
    limit: str,
) -> None:
    setattr(settings, limit, 1)
    User.objects.filter(pk=auditor.pk).update(username="zora")
    urls = {
        "VIEWS_PER_HOUR": [make_review().asset.file_url for _ in range(2)],
        "EXPORTS_PER_HOUR": ["/exports/images.csv"] * 2,
    }[limit]

    answers = [client_of(auditor).get(url) for url in urls]
    statuses = [answer.status_code for answer in answers]
    b"".join(answers[0].streaming_content)

    assert statuses == [200, 429]
    assert check(clock, minutes=4) == ["A limit of views or exports was reached"]
    assert "A limit of views or exports" in client_of(operator).get("/operations/").content.decode()
    assert "refused 1 person something" in mail.outbox[0].body
    assert "zora" in client_of(auditor).get("/traces/").content.decode()
    assert "zora" not in mail.outbox[0].body
    check(clock, minutes=70)
    subjects = [message.subject for message in mail.outbox if "views or exports" in message.subject]
    assert [subject.split(":")[1].strip() for subject in subjects] == ["started", "ended"]


def test_broken_check_is_an_alarm_and_does_not_silence_the_others(
    clock: Clock, monkeypatch: Any
) -> None:
    def break_down(now: datetime) -> Iterator[Any]:
        raise ValueError("a fault of the check")

    monkeypatch.setitem(CHECKS, Kind.QUEUE, break_down)
    fail_provider(clock)

    titles = check(clock, minutes=5)

    assert titles == ["Images wait too long", "A service fails: Novita detection"]


def test_every_message_says_what_to_do(clock: Clock, make_review: MakeReview) -> None:
    fail_provider(clock)
    Chore.objects.create(name="sessions", error="It failed.")
    Verification.objects.create(
        status="finished", decisions=9, faults=2, finished_at=clock.now - timedelta(days=8)
    )

    found, failed = find_all()

    assert not failed
    assert len(found) >= 5
    assert all("To do:" in finding.message for finding in found)


def test_webhook_is_signed_and_tried_again(clock: Clock, settings: Any, receiver: Any) -> None:
    url, calls, statuses = receiver
    settings.ALARM_MAIL = []
    settings.ALARM_WEBHOOK_URL, settings.ALARM_WEBHOOK_SECRET = url, SECRET
    statuses += [503, 200]
    fail_provider(clock)

    check(clock, minutes=3)
    assert AlarmNotice.objects.get().error == "The server answered 503."
    check(clock, minutes=3)

    assert len(calls) == 2
    assert AlarmNotice.objects.get().sent_at is not None
    headers, content = calls[1]
    stamp, signature = (part.split("=")[1] for part in headers["X-Loupe-Signature"].split(","))
    expected = hmac.new(SECRET.encode(), f"{stamp}.".encode() + content, hashlib.sha256)
    assert signature == expected.hexdigest()
    told = json.loads(content)
    assert (told["event"], told["kind"], told["subject"]) == ("alarm.opened", "provider", "novita")
    assert told["url"].endswith("/operations/")


def test_command_works_without_a_worker(clock: Clock, settings: Any) -> None:
    output = StringIO()
    call_command("check_alarms", stdout=output)
    for _ in range(3):
        clock.move(minutes=1)
        call_command("check_alarms", stdout=output)

    assert "A worker is silent" in output.getvalue()
    assert [message.subject for message in mail.outbox] == ["Loupe: started: A worker is silent"]
    with pytest.raises(SystemExit) as ended:
        call_command("check_alarms", "--fail", stdout=output)
    assert ended.value.code == 2


def test_database_away_is_reported_once_and_its_end_too(settings: Any, tmp_path: Any) -> None:
    settings.DATA_DIR = tmp_path
    output = StringIO()

    for _ in range(3):
        with Away():
            call_command("check_alarms", stderr=output)
    assert [message.subject for message in mail.outbox] == [
        "Loupe: started: The database cannot be reached"
    ]
    call_command("check_alarms", stdout=output)
    call_command("check_alarms", stdout=output)

    assert [message.subject for message in mail.outbox][1:] == [
        "Loupe: ended: The database cannot be reached"
    ]


def test_page_shows_open_and_ended_alarms_and_the_last_faults(
    clock: Clock, client_of: Callable[[User], Any], operator: User
) -> None:
    fail_provider(clock)
    check(clock, minutes=4)
    browser = client_of(operator)

    page = browser.get("/operations/").content.decode()
    assert "A service fails: Novita detection" in page
    assert "refused our key" in page
    assert "Sent by mail" in page

    ProviderState.objects.update(last_success_at=clock.now)
    check(clock, minutes=8)
    page = browser.get("/operations/?span=14d").content.decode()
    assert "No alarm is open." in page
    assert "Ended" in page
    assert browser.get("/operations/?span=7y").status_code == 400


def test_page_says_when_nobody_checks(client_of: Callable[[User], Any], operator: User) -> None:
    page = client_of(operator).get("/operations/").content.decode()

    assert "Alarms have never been checked." in page
    assert "No alarm is open." not in page


def test_test_alarm_sends_its_start_and_its_end(
    clock: Clock, client_of: Callable[[User], Any], operator: User
) -> None:
    answer = client_of(operator).post("/operations/test-alarm/")
    assert answer.status_code == 303

    check(clock, minutes=8)

    assert [message.subject for message in mail.outbox] == [
        "Loupe: started: Test",
        "Loupe: ended: Test",
    ]


def test_test_alarm_without_a_channel_says_so(
    client_of: Callable[[User], Any], operator: User, settings: Any
) -> None:
    settings.ALARM_MAIL = []

    answer = client_of(operator).post("/operations/test-alarm/", follow=True)

    assert "Alarms are sent nowhere." in answer.content.decode()
    assert not Alarm.objects.exists()
