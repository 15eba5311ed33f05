"""Version 7 UUIDs, which identify decisions."""

from __future__ import annotations

import time
from uuid import RFC_4122

import pytest

from generation.core.uuid7 import make_uuid7


def test_uuids_sort_by_time_and_are_unique(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = time.time_ns()
    names = []
    for millisecond in range(300):
        monkeypatch.setattr(time, "time_ns", lambda passed=millisecond: now + passed * 1_000_000)
        names.append(make_uuid7())

    assert names == sorted(names)
    assert len({name.hex[12:] for name in names}) == 300
    assert {(name.version, name.variant) for name in names} == {(7, RFC_4122)}
    assert names[0].int >> 80 == now // 1_000_000
