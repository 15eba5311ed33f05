"""The stored files of images, wherever the suite keeps them: in a directory or in a bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from config.asset_storage import build_entry
from generation.core.storage import FOLDERS, PURGES, get_asset_storage
from generation.models import Asset


def list_stored() -> list[str]:
    """Return the names of all files of the images."""
    files = get_asset_storage()
    return sorted(file.name for folder in FOLDERS for file in files.iter_files(folder))


def read_stored(name: Any) -> bytes:
    with storages["assets"].open(str(name)) as file:
        return bytes(file.read())


def replace_stored(name: Any, content: bytes) -> None:
    """Put other content under a name, also of the same size."""
    storages["assets"].delete(str(name))
    storages["assets"].save(str(name), ContentFile(content))


def empty_storage() -> None:
    for folder in (*FOLDERS, PURGES):
        for file in list(get_asset_storage().iter_files(folder)):
            storages["assets"].delete(file.name)


def use_directory(monkeypatch: pytest.MonkeyPatch, settings: Any, folder: Path) -> None:
    """Let the application keep its images in this directory."""
    use_storage(monkeypatch, settings, build_entry(folder=folder, bucket=None, move=None))


def use_storage(monkeypatch: pytest.MonkeyPatch, settings: Any, entry: dict[str, Any]) -> None:
    settings.STORAGES = {**settings.STORAGES, "assets": entry}
    for name in ("rendition", "thumbnail", "original"):  # they keep the storage of the start
        monkeypatch.setattr(Asset._meta.get_field(name), "storage", storages["assets"])
