"""Second factors in the database: encrypted, through every change of the key."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from config.checks import check_record_can_be_sealed
from generation.models import JobSlot
from moderation import tasks
from moderation.models import Chore
from moderation.record_keys import current_key_id
from moderation.services import housekeeping
from tests.conftest import PASSWORD
from tests.moderation.page_helpers import ClientOf

pytestmark = pytest.mark.django_db
PLAIN = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
SEED = "0123456789abcdef" * 5
NEW_KEY = "tests only, another key of the record: 0123456789"
UNREADABLE = "This server cannot read your second factor"


def make_code(secret: str = PLAIN) -> str:
    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30)))


def enrol(client: Client) -> tuple[str, list[str]]:
    """Set up an app, and return its secret and the recovery codes."""
    found = re.search(r'id="secret"[^>]*value="(\w+)"', client.get("/factors/app/").text)
    assert found is not None
    answer = client.post("/factors/app/", {"code": make_code(found[1])})
    assert answer.status_code == 302
    return found[1], re.findall(r"\b\d{8}\b", client.get(answer["Location"]).text)


def log_in(code: str) -> tuple[Client, Any]:
    client = Client()
    assert client.post("/login/", {"username": "senior", "password": PASSWORD}).status_code == 302
    return client, client.post("/login/code/", {"code": code})


def read_stored() -> dict[str, dict[str, Any]]:
    """Return the data of all factors as the database has them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT type, data FROM mfa_authenticator")
        rows = cursor.fetchall()
    return {kind: data if isinstance(data, dict) else json.loads(data) for kind, data in rows}


def clean_up() -> Chore:
    """Run the hourly job, and return the result of its part for second factors."""
    housekeeping.add_chores()
    Chore.objects.update(due_at="2020-01-01T00:00Z", lease=None)
    JobSlot.objects.update(running_until=None)
    tasks.clean_up()
    return Chore.objects.get(name="second factors")


def test_secrets_are_stored_encrypted_and_log_in_works(client_of: ClientOf, senior: User) -> None:
    client = client_of(senior)
    secret, codes = enrol(client)

    stored = read_stored()
    assert stored["totp"]["secret"].startswith("aes256gcm:")
    assert stored["recovery_codes"]["seed"].startswith("aes256gcm:")
    texts = json.dumps([stored, dict(client.session)])
    assert secret not in texts
    assert len(codes) == 10
    assert [code for code in codes if code in texts] == []

    assert log_in(codes[0])[1]["Location"] == "/"
    assert log_in(codes[0])[1].status_code == 200


def test_code_of_an_encrypted_secret_logs_in(senior: User) -> None:
    Authenticator.objects.create(user=senior, type="totp", data={"secret": PLAIN})
    clean_up()
    assert PLAIN not in json.dumps(read_stored())
    client, answer = log_in(make_code())
    assert answer["Location"] == "/"
    assert client.get("/sessions/").status_code == 200


def test_replaced_key_locks_nobody_out(client_of: ClientOf, senior: User, settings: Any) -> None:
    earlier = settings.RECORD_KEY
    _, codes = enrol(client_of(senior))

    settings.RECORD_KEY, settings.RECORD_KEY_FALLBACKS = NEW_KEY, [earlier]
    assert log_in(codes[0])[1].status_code == 302
    before = read_stored()
    assert clean_up().error == ""

    after = read_stored()
    assert after["totp"]["secret"] != before["totp"]["secret"]
    settings.RECORD_KEY_FALLBACKS = []
    assert log_in(codes[0])[1].status_code == 200  # still used
    assert log_in(codes[1])[1].status_code == 302
    used = read_stored()
    assert clean_up().error == ""
    assert read_stored() == used


def test_plain_secrets_of_earlier_versions_work_until_they_are_encrypted(senior: User) -> None:
    Authenticator.objects.create(user=senior, type="totp", data={"secret": PLAIN})
    recovery = Authenticator.objects.create(
        user=senior, type="recovery_codes", data={"seed": SEED, "used_mask": 0}
    )
    codes = RecoveryCodes(recovery).get_unused_codes()
    assert log_in(codes[0])[1].status_code == 302

    assert clean_up().error == ""

    assert read_stored()["recovery_codes"]["used_mask"] == 1
    texts = json.dumps(read_stored())
    assert (PLAIN in texts, SEED in texts) == (False, False)
    assert log_in(codes[0])[1].status_code == 200
    assert log_in(codes[1])[1].status_code == 302
    assert log_in(make_code())[1].status_code == 302


@pytest.mark.parametrize("key", [NEW_KEY, ""])
def test_missing_key_is_said_and_new_recovery_codes_can_be_made(
    client_of: ClientOf, senior: User, settings: Any, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_of(senior)
    secret, codes = enrol(client)
    settings.RECORD_KEY = key
    stored = read_stored()

    for code in (make_code(secret), codes[0]):
        refused, answer = log_in(code)
        assert answer.status_code == 200
        assert UNREADABLE in answer.text
        assert refused.get("/sessions/").status_code == 302
    assert "which neither RECORD_KEY nor RECORD_KEY_FALLBACKS has" in caplog.text
    assert read_stored() == stored

    shown = client.get("/factors/recovery-codes/", follow=True)
    assert shown.redirect_chain == [("/factors/recovery-codes/new/", 302)]
    assert "cannot be read" in shown.text
    made = client.post("/factors/recovery-codes/new/", follow=True)
    new = re.findall(r"\b\d{8}\b", made.text)
    assert len(new) == 10
    assert set(new).isdisjoint(codes)


@pytest.mark.parametrize("stored", ["aes256gcm:{name}:AAAA", "aes256gcm:{name}:!", "aes256gcm:x"])
def test_altered_secret_is_no_fault(
    senior: User, stored: str, caplog: pytest.LogCaptureFixture
) -> None:
    secret = stored.format(name=current_key_id())
    Authenticator.objects.create(user=senior, type="totp", data={"secret": secret})
    _, answer = log_in(make_code())
    assert (answer.status_code, UNREADABLE in answer.text) == (200, True)
    assert "A second factor" in caplog.text


def test_housekeeping_names_secrets_that_no_key_reads(
    client_of: ClientOf, senior: User, moderator: User, settings: Any
) -> None:
    enrol(client_of(senior))
    Authenticator.objects.create(user=moderator, type="totp", data={"secret": PLAIN})
    stored = read_stored()["recovery_codes"]
    settings.RECORD_KEY = NEW_KEY

    assert "UnreadableSecretError" in clean_up().error

    assert read_stored()["recovery_codes"] == stored  # what cannot be read is not touched
    assert PLAIN not in json.dumps(
        [row.data for row in Authenticator.objects.filter(user=moderator)]
    )


def test_without_a_key_secrets_are_stored_as_they_are_and_a_check_says_so(
    client_of: ClientOf, senior: User, settings: Any
) -> None:
    settings.RECORD_KEY = ""
    secret, codes = enrol(client_of(senior))
    assert read_stored()["totp"]["secret"] == secret
    assert log_in(codes[0])[1].status_code == 302
    assert clean_up().error == ""
    assert read_stored()["totp"]["secret"] == secret
    assert "second factors" in check_record_can_be_sealed()[0].msg
