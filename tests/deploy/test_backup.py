"""Backup and restore as two commands, on SQLite and PostgreSQL, with a removal in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from generation.core.bucket import BucketStorage
from tests.buckets import Moto, make_storage, variables
from tests.conftest import picture
from tests.deploy.servers import ROOT, SECRET_KEY, Postgres
from tests.generation.imaging.test_original import FILES

pytestmark = pytest.mark.slow
IMAGES = 6


@dataclass(frozen=True)
class Installation:
    """A folder and a database of one Loupe, used by its commands only."""

    data: Path
    url: str
    more: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, fails: bool = False) -> str:
        environment = {
            name: value
            for name, value in os.environ.items()
            if name in ("PATH", "HOME", "LANG", "TEST_DATABASE_URL")
        }
        environment |= {
            "DATA_DIR": str(self.data),
            "DATABASE_URL": self.url,
            "SECRET_KEY": SECRET_KEY,
            "SANDBOX": "1",
            "CLASSIFIERS": "sandbox",
            "ENCODER": "none",
            "STORAGE_RESERVE_MB": "0",
            "PUBLIC_URL": "http://127.0.0.1",
            "REDIS_URL": "",
            **self.more,
        }
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        text = done.stdout + done.stderr
        assert (done.returncode == 1) if fails else (done.returncode == 0), text
        assert "Traceback" not in text
        return text

    def ask(self, code: str) -> str:
        """Run code in this installation and return what it prints."""
        return self.run("shell", "--no-imports", "-c", textwrap.dedent(code)).strip()

    @property
    def assets(self) -> Path:
        return self.data / "assets"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Installation, Installation]]:
    """Return an installation and the empty one that its backup is restored into."""
    folder = tmp_path_factory.mktemp("backup")
    if request.param == "sqlite":
        yield (
            Installation(folder / "a", f"sqlite:///{folder / 'a' / 'db.sqlite3'}"),
            Installation(folder / "b", f"sqlite:///{folder / 'b' / 'db.sqlite3'}"),
        )
        return
    with Postgres() as server:
        server.ask("CREATE DATABASE other")
        yield (
            Installation(folder / "a", server.url),
            Installation(folder / "b", server.url.rpartition("/")[0] + "/other"),
        )


FILL = """
    from django.contrib.auth.models import User
    from django.utils import timezone
    from generation.models import GenerationRequest
    from moderation.models import Review, Verdict
    from moderation.services import decisions
    user = User.objects.create_superuser("anna")
    for review in Review.objects.order_by("pk")[:4]:
        Review.objects.filter(pk=review.pk).update(status="pending")
        decisions.claim(review=review, user=user)
        categories = ["violence.graphic"]
        decisions.decide(review=review, user=user, verdict=Verdict.REJECT, categories=categories)
    values = dict(provider="novita-sandbox", model_name="m", width=512, height=512, image_num=1,
                  steps=20, guidance_scale=7, sampler_name="Euler a", seed=1)
    GenerationRequest.objects.create(prompt="not sent yet", due_at=timezone.now(), **values)
"""
REMOVE = """
    from datetime import timedelta
    from django.utils import timezone
    from moderation.models import RetentionRule, Review
    from moderation.services import retention
    first = Review.objects.order_by("pk").first()
    Review.objects.filter(pk=first.pk).update(decided_at=timezone.now() - timedelta(days=40))
    RetentionRule.objects.create(name="old ones", days=30, is_on=True, due_at=timezone.now())
    retention.run_due(go_on=lambda: True)
    print(first.asset.uuid)
"""
STATE = """
    import json
    from generation.models import Asset, GenerationRequest
    from moderation.models import ChainHead, Decision
    head = ChainHead.objects.get(pk=1)
    print(json.dumps({
        "assets": Asset.objects.count(),
        "purged": [str(row.uuid) for row in Asset.objects.filter(purged_at__isnull=False)],
        "head": [head.sequence, head.hash],
        "decisions": Decision.objects.count(),
        "requests": list(GenerationRequest.objects.values_list("status", "reason")),
    }))
"""


def list_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_restored_installation_is_as_it_was_and_removed_stays_removed(
    pair: tuple[Installation, Installation], tmp_path: Path
) -> None:
    old, new = pair
    images, backup = tmp_path / "images", tmp_path / "backup"
    images.mkdir()
    for number in range(IMAGES - 1):
        (images / f"{number}.png").write_bytes(picture(number + 1))
    (images / "alpha.png").write_bytes(FILES["png-alpha"]())
    old.data.mkdir()
    (old.data / "models" / "house").mkdir(parents=True)
    (old.data / "models" / "house" / "weights.bin").write_bytes(b"weights")
    old.run("migrate", "--verbosity=0")
    old.run("import_images", str(images))
    old.ask(FILL)

    first = old.run("backup", str(backup))
    again = old.run("backup", str(backup))
    assert "4 decisions" in first
    assert "0 files copied" in again  # only what is new
    before = json.loads(old.ask(STATE))
    stored = list_files(backup / "files")
    text = "".join(path.read_text() for path in backup.rglob("settings.json"))
    assert SECRET_KEY not in text
    assert "STORAGE_RESERVE_MB" in text

    removed = old.ask(REMOVE)
    snapshot = sorted(path.name for path in (backup / "snapshots").iterdir())[-1]

    # The newest snapshot is older than the removal: its list comes from the surviving storage.
    told = new.run(
        "restore", str(backup), "--snapshot", snapshot, "--purges", str(old.assets / "purges")
    )

    after = json.loads(new.ask(STATE))
    assert "1 images and requests were removed since" in told
    assert after["purged"] == [removed]
    assert after["head"] == before["head"]
    assert (after["assets"], after["decisions"]) == (IMAGES, 4)
    assert after["requests"] == [["unknown", "RESTORED"]]
    kept = {name for name in list_files(new.assets) if not name.startswith("purges/")}
    assert kept < stored
    assert kept == {
        name
        for name in list_files(old.assets)
        if not name.startswith(("purges/", "tmp/")) and name != "storage-id"
    }
    assert (new.data / "models" / "house" / "weights.bin").read_bytes() == b"weights"
    assert "4 decisions verified" in new.run("verify_decisions")
    new.run("verify_assets")

    # A full target is refused, and stays as it is.
    refused = new.run("restore", str(backup), fails=True)
    assert "not empty" in refused
    assert json.loads(new.ask(STATE)) == after

    # The next backup of the old installation forgets the file, and knows the removal itself.
    old.run("backup", str(backup))
    assert list_files(backup / "files") == kept
    assert len(list_files(backup / "purges")) == 1


def test_altered_backup_is_refused_or_named(tmp_path: Path) -> None:
    old = Installation(tmp_path / "a", f"sqlite:///{tmp_path / 'a' / 'db.sqlite3'}")
    images, backup = tmp_path / "images", tmp_path / "backup"
    images.mkdir()
    old.data.mkdir()
    (images / "1.png").write_bytes(picture(1))
    old.run("migrate", "--verbosity=0")
    old.run("import_images", str(images))
    old.run("backup", str(backup))
    name = next(iter((backup / "files" / "renditions").rglob("*.png")))
    name.write_bytes(name.read_bytes()[:-1] + b"\0")

    new = Installation(tmp_path / "b", f"sqlite:///{tmp_path / 'b' / 'db.sqlite3'}")
    named = new.run("restore", str(backup), fails=True)
    assert f"Altered in the backup: renditions/{name.parent.name}/{name.name}" in named

    database = next(iter(backup.rglob("database.sqlite3")))
    with database.open("r+b") as file:
        file.seek(200)
        file.write(b"x" * 20)
    third = Installation(tmp_path / "c", f"sqlite:///{tmp_path / 'c' / 'db.sqlite3'}")
    refused = third.run("restore", str(backup), fails=True)
    assert "does not match its manifest" in refused
    assert not (tmp_path / "c" / "db.sqlite3").exists()


def test_wrong_folders_are_refused_with_a_message(tmp_path: Path) -> None:
    loupe = Installation(tmp_path / "a", f"sqlite:///{tmp_path / 'a' / 'db.sqlite3'}")
    loupe.data.mkdir()
    full = tmp_path / "full"
    full.mkdir()
    (full / "somebody's file").write_text("precious")
    loupe.run("migrate", "--verbosity=0")

    assert "not empty and holds no backup" in loupe.run("backup", str(full), fails=True)
    assert list_files(full) == {"somebody's file"}
    assert "holds no backup of Loupe" in loupe.run("restore", str(full), fails=True)


MEASURE = """
    from generation.models import JobSlot
    from moderation.models import StorageScan, StorageUsage
    from moderation.services import storage_usage
    storage_usage.add_scan()
    storage_usage.run_due(go_on=lambda: True)
    scan = StorageScan.objects.get(pk=1)
    print(scan.error, StorageUsage.objects.get(kind="renditions").files)
"""


@pytest.fixture
def moto() -> Iterator[Moto]:
    with Moto() as server:
        yield server


def list_objects(bucket: BucketStorage, *folders: str) -> set[str]:
    folders = folders or ("renditions", "thumbnails", "originals", "views", "blurred")
    return {file.name for folder in folders for file in bucket.iter_files(folder)}


def test_images_in_a_bucket_are_measured_removed_backed_up_and_restored(
    moto: Moto, tmp_path: Path
) -> None:
    second = tmp_path / "second list"
    settings = variables(moto.url, S3_PREFIX="old")
    old, new = (
        Installation(
            tmp_path / name,
            f"sqlite:///{tmp_path / name / 'db.sqlite3'}",
            {**settings, "S3_PREFIX": name, "PURGE_LIST": str(second)},
        )
        for name in ("old", "new")
    )
    before, after = (make_storage(moto.url, S3_PREFIX=name) for name in ("old", "new"))
    images, backup = tmp_path / "images", tmp_path / "backup"
    images.mkdir()
    for number in range(IMAGES):
        (images / f"{number}.png").write_bytes(picture(number + 1))
    old.data.mkdir()
    old.run("migrate", "--verbosity=0")
    old.run("import_images", str(images))
    old.ask(FILL)
    old.run("backup", str(backup))
    stored = list_objects(before)

    removed, measured = old.ask(REMOVE + MEASURE).splitlines()

    kept = list_objects(before)
    gone = stored - kept
    assert any(name.startswith("renditions/") for name in gone)
    lists = {Path(name).name for name in list_objects(before, "purges")}
    assert {path.name for path in second.glob("*.jsonl")} == lists
    assert len(lists) == 1
    assert measured.split() == [str(IMAGES - 1)]  # and no error

    # The bucket and all in it are lost: the second list still names what was removed.
    told = new.run("restore", str(backup), "--purges", str(second))

    assert "1 images and requests were removed since" in told
    assert json.loads(new.ask(STATE))["purged"] == [removed]
    assert list_objects(after) == kept
    assert not (new.data / "assets").exists()

    # While S3_MOVE is set, both sides are backed up.
    old.more["S3_MOVE"] = "to-disk"
    old.run("backup", str(backup))
    assert list_files(backup / "files") == kept
    assert {path.name for path in (backup / "purges").iterdir()} == lists
    moto.stop()
    refused = old.run("backup", str(backup), fails=True)
    assert "The bucket cannot be read" in refused
    assert "the object storage cannot be reached" in refused
    assert len(list((backup / "snapshots").glob("[!.]*"))) == 2
