"""Image storage during a move between a directory and a bucket."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from django.core.files.base import File
from django.utils.module_loading import import_string

from generation.core.storage import AssetStorage, StoredFile


class MovingStorage(AssetStorage):
    """Two storages: new files go to ``target``, and files that it does not have are in ``source``.

    ``manage.py move_assets`` copies the rest. Both arguments have the form of STORAGES.
    """

    def __init__(self, *, source: dict[str, Any], target: dict[str, Any]) -> None:
        self.source, self.target = _build(source), _build(target)

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        try:
            return self.target.open(name, mode)
        except FileNotFoundError:
            pass
        try:
            return self.source.open(name, mode)
        except FileNotFoundError:
            # The file may have been copied, and deleted in the source, between the two looks.
            return self.target.open(name, mode)

    def _save(self, name: str, content: File[Any]) -> str:
        return self.target.save(name, content)

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return self.target.get_available_name(name, max_length)

    def exists(self, name: str) -> bool:
        return self.target.exists(name) or self.source.exists(name)

    def size(self, name: str) -> int:
        try:
            return self.target.size(name)
        except FileNotFoundError:
            return self.source.size(name)

    def delete(self, name: str) -> None:
        """Delete the file in both; in the source first, because a copy may be under way."""
        self.source.delete(name)
        self.target.delete(name)

    def count_free_bytes(self) -> int | None:
        return self.target.count_free_bytes()

    def probe(self) -> None:
        self.target.probe()

    def sweep_temporary(self, older_than_seconds: float) -> int:
        return sum(
            files.sweep_temporary(older_than_seconds) for files in (self.target, self.source)
        )

    def iter_files(self, folder: str) -> Iterator[StoredFile]:
        """List the files of both, each once, as the target has them."""
        for in_target, in_source in self.iter_pairs(folder):
            found = in_target or in_source
            assert found is not None
            yield found

    def iter_pairs(self, folder: str) -> Iterator[tuple[StoredFile | None, StoredFile | None]]:
        """List the files of both side by side: in the target, in the source."""
        sides = (_tag(0, self.target.iter_files(folder)), _tag(1, self.source.iter_files(folder)))
        merged = heapq.merge(*sides, key=_find_name)
        for _, group in groupby(merged, key=_find_name):
            found = dict(group)
            yield found.get(0), found.get(1)

    def delete_unused(self, name: str, older_than_seconds: float) -> bool:
        deleted = [
            files.delete_unused(name, older_than_seconds) for files in (self.source, self.target)
        ]
        return any(deleted)


def _tag(side: int, files: Iterator[StoredFile]) -> Iterator[tuple[int, StoredFile]]:
    for file in files:
        yield side, file


def _find_name(tagged: tuple[int, StoredFile]) -> str:
    return tagged[1].name


def _build(entry: dict[str, Any]) -> AssetStorage:
    found = import_string(entry["BACKEND"])(**entry["OPTIONS"])
    assert isinstance(found, AssetStorage)
    return found
