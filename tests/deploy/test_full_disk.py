"""A disk of 24 MiB with the database and the images on it fills up at ten moments."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from tests.deploy.servers import ROOT, SECRET_KEY
from tests.small_disks import mount_small_disk

pytestmark = pytest.mark.slow
ADVICE = "make room on the disk that holds DATA_DIR/assets"
# Runs in one process of Loupe. Every call that returns is a promise that must hold.
SCRIPT = textwrap.dedent(
    """
    import io, json, os
    import numpy as np
    from pathlib import Path
    from PIL import Image
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.db import DatabaseError, connection
    from django.test import Client
    from generation.core.storage import StorageUnavailableError
    from generation.models import Asset, GenerationRequest
    from generation.services import requests, storage_checks, storing
    from generation.services.file_checks import verify_files
    from moderation.models import Decision, Review, Verdict
    from moderation.services import decisions
    from moderation.services.verification import verify_record

    user = User.objects.create_superuser("anna")
    client = Client(headers={"host": "127.0.0.1"}, raise_request_exception=False)
    client.force_login(user)
    storage_checks.start_host()
    filler = Path(settings.DATA_DIR) / "filler"
    FULL = (StorageUnavailableError, DatabaseError, OSError)
    FIELDS = dict(prompt="a harbour", model_name="m", width=512, height=512, image_num=1, steps=20,
                  guidance_scale=7, sampler_name="Euler a")
    stored, decided, refused = set(), set(), []

    def make(number):
        noise = np.random.default_rng(number).integers(0, 255, (160, 160, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(noise).save(file, "PNG")
        return file.getvalue()

    def fill(leave):
        filler.unlink(missing_ok=True)
        free = os.statvfs(settings.DATA_DIR)
        size = free.f_bavail * free.f_frsize - leave
        with filler.open("wb") as file:
            file.write(bytes(max(0, size)))

    def work(number):
        asset = storing.import_file(content=make(number), name=f"{number}.png")
        stored.add(str(asset.uuid))
        review = asset.review
        Review.objects.filter(pk=review.pk).update(status="pending")
        decisions.claim(review=review, user=user)
        decision = decisions.decide(review=review, user=user, verdict=Verdict.APPROVE)
        decided.add(str(decision.uuid))

    def check(moment):
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA integrity_check")
            assert cursor.fetchone() == ("ok",), moment
        assert Asset.objects.filter(uuid__in=stored).count() == len(stored), moment
        assert Decision.objects.filter(uuid__in=decided).count() == len(decided), moment
        found = verify_files()
        assert (found.missing, found.altered) == ([], []), moment
        assert verify_record()[1] == [] , moment

    def ask():
        # Of the web application, while the disk is full or afterwards.
        ready, today = client.get("/readyz"), client.get("/")
        assert (ready.status_code, today.status_code) == (200, 200), (ready, today)
        return ready.json(), today.content.decode()

    number, told = 0, []
    for moment in range(10):
        settings.STORAGE_RESERVE = 1024 * 1024 if moment % 2 else 0
        fill(leave=[0, 200, 8, 300, 64, 500, 160, 900, 420, 1200][moment] * 1024)
        for _ in range(40):
            try:
                work(number)
            except FULL as error:
                refused.append(type(error).__name__)
                break
            number += 1
        else:
            raise AssertionError(f"the disk was never full at {moment}")
        if settings.STORAGE_RESERVE:
            assert storage_checks.describe_state() != "ok", moment
            before = GenerationRequest.objects.count()
            try:
                requests.create_request(user=user, provider="novita-sandbox", fields=dict(FIELDS))
            except FULL:
                pass
            else:
                raise AssertionError(f"a request was accepted at {moment}")
            assert GenerationRequest.objects.count() == before
            connection.close()  # frees the space of SQLite's log, which would be free later
            fill(leave=500 * 1024)
            ready, today = ask()
            told.append([ready["storage"], ready["disk"], today])
        filler.unlink()
        settings.STORAGE_RESERVE = 0
        check(moment)
        try:
            work(number)  # the image that was refused; its row may have been stored before
        except storing.AlreadyStoredError as known:
            stored.add(str(known.asset.uuid))
        number += 1
        check(moment)
    assert storage_checks.refresh_report().error == ""
    ready, today = ask()
    assert ready["storage"] == "ok", ready
    assert "disk that holds" not in today
    print(json.dumps({"stored": len(stored), "decided": len(decided), "refused": refused,
                      "told": told, "rows": Asset.objects.count(), "images": number}))
    """
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a small disk for database and images."""
    with mount_small_disk(tmp_path / "disk", mebibytes=24) as folder:
        yield folder


def test_full_disk_loses_nothing_that_was_confirmed_and_work_resumes(
    disk: Path, django_db_setup: None, migrated_database: Path
) -> None:
    if not migrated_database.exists():
        # PostgreSQL writes to a disk of its own, so that a full disk of Loupe is another case.
        pytest.skip("The suite runs on PostgreSQL, whose disk is not Loupe's.")
    shutil.copyfile(migrated_database, disk / "db.sqlite3")
    variables = {
        "PATH": os.environ["PATH"],
        "DATA_DIR": str(disk),
        "DATABASE_URL": f"sqlite:///{disk / 'db.sqlite3'}",
        "SECRET_KEY": SECRET_KEY,
        "RECORD_KEY": settings.RECORD_KEY,  # the migrated database was sealed with it
        "DEBUG": "1",  # static files without a manifest
        "SANDBOX": "1",
        "CLASSIFIERS": "sandbox",
        "ENCODER": "none",
        "PUBLIC_URL": "http://127.0.0.1",
        "TMPDIR": str(disk.parent),
    }

    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", SCRIPT],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["refused"]) == 10
    for storage, folder, page in found["told"]:
        assert ADVICE in storage
        assert "MiB are free in" in folder
        assert ADVICE in page
    assert len(found["told"]) == 5
    assert found["stored"] == found["rows"] == found["images"]  # no image is lost
