"""Durable, content-addressed files."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from generation.core import storage
from generation.core.storage import (
    DurableFileSystemStorage,
    asset_name,
    sweep_temporary_files,
    thumbnail_name,
)

SHA = "ab" + "0" * 62
NAME = asset_name(SHA, "png")


@pytest.fixture
def files(tmp_path: Path) -> DurableFileSystemStorage:
    return DurableFileSystemStorage(location=tmp_path / "assets")


def everything(files: DurableFileSystemStorage) -> list[str]:
    root = Path(files.location)
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_file_names_contain_the_hash_and_wrong_hashes_and_types_are_refused() -> None:
    assert asset_name(SHA, "png") == f"renditions/ab/{SHA}.png"
    assert asset_name(SHA, "jpeg").endswith(".jpg")
    assert thumbnail_name(SHA) == f"thumbnails/ab/{SHA}.webp"
    for sha256, ext in (
        ("../etc", "png"),
        (SHA, "html"),
        (SHA.upper(), "png"),
        (SHA[:-1], "png"),
        (SHA + "\n", "png"),
    ):
        with pytest.raises(ValueError, match=r"is not a type|is named by"):
            asset_name(sha256, ext)


def test_file_is_saved_under_its_own_name_and_not_rewritten(
    files: DurableFileSystemStorage,
) -> None:
    assert files.save(NAME, ContentFile(b"pixels")) == NAME
    inode = os.stat(files.path(NAME)).st_ino
    assert files.save(NAME, ContentFile(b"pixels")) == NAME
    assert os.stat(files.path(NAME)).st_ino == inode
    assert everything(files) == [NAME]
    with files.open(NAME) as file:
        assert file.read() == b"pixels"


def test_damaged_file_is_replaced(files: DurableFileSystemStorage) -> None:
    files.save(NAME, ContentFile(b"pixels"))
    Path(files.path(NAME)).write_bytes(b"pix")
    files.save(NAME, ContentFile(b"pixels"))
    assert Path(files.path(NAME)).read_bytes() == b"pixels"


def test_content_is_synced_to_disk_before_the_rename(
    files: DurableFileSystemStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []

    def logged(name: str) -> None:
        real = getattr(os, name)

        def call(*args: Any) -> Any:
            folder = name == "fsync" and os.path.isdir(f"/proc/self/fd/{args[0]}")
            log.append(f"{name} folder" if folder else name)
            return real(*args)

        monkeypatch.setattr(storage.os, name, call)

    files.save(NAME, ContentFile(b"1"))
    logged("fsync")
    logged("replace")
    files.save(asset_name(SHA, "webp"), ContentFile(b"2"))
    assert log == ["fsync", "replace", "fsync folder"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failed_write_leaves_no_file_under_the_name(
    step: str, files: DurableFileSystemStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    files.save(thumbnail_name(SHA), ContentFile(b"old"))
    (Path(files.location) / "renditions" / "ab").mkdir(parents=True)
    monkeypatch.setattr(storage.os, step, full)
    with pytest.raises(OSError, match="No space"):
        files.save(NAME, ContentFile(b"pixels"))
    monkeypatch.undo()
    assert not files.exists(NAME)
    files.sweep_temporary(0)
    assert everything(files) == [thumbnail_name(SHA)]


def test_sweep_keeps_recent_temporary_files_and_finished_files(
    files: DurableFileSystemStorage,
) -> None:
    assert files.sweep_temporary(0) == 0
    files.save(NAME, ContentFile(b"pixels"))
    folder = Path(files.location) / "tmp"
    (folder / "old.part").write_bytes(b"x")
    (folder / "young.part").write_bytes(b"x")
    os.utime(folder / "old.part", (time.time() - 7200,) * 2)
    assert files.sweep_temporary(3600) == 1
    assert everything(files) == sorted([NAME, "tmp/young.part"])


@pytest.mark.parametrize("name", ["../x.png", "/etc/x.png", "a/../../x.png", "..\\x.png", "a\0b"])
def test_names_outside_the_storage_folder_are_refused(
    name: str, files: DurableFileSystemStorage
) -> None:
    with pytest.raises((SuspiciousFileOperation, ValueError)):
        files.save(name, ContentFile(b"x"))


def test_too_long_name_is_refused_instead_of_truncated(files: DurableFileSystemStorage) -> None:
    with pytest.raises(SuspiciousFileOperation):
        files.save(NAME, ContentFile(b"x"), max_length=20)


def test_sweep_deletes_only_stale_temporary_files_of_the_asset_storage(
    settings: Any, tmp_path: Path
) -> None:
    backend = {
        "BACKEND": "generation.core.storage.DurableFileSystemStorage",
        "OPTIONS": {"location": tmp_path},
    }
    settings.STORAGES = {**settings.STORAGES, "assets": backend}
    kept = tmp_path / storages["assets"].save(NAME, ContentFile(b"whole"))
    stale = tmp_path / "tmp" / "left"
    stale.write_bytes(b"half")
    os.utime(stale, (1, 1))

    assert sweep_temporary_files() == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]
