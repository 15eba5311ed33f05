"""An image that kills each worker that decodes it."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from generation import tasks
from generation.models import RemoteImage
from generation.services import downloading
from tests.faults.crash import run_and_kill
from tests.faults.recovery import assert_invariants, end_leases, run_until_quiet
from tests.faults.scenarios import World
from tests.generation.pipeline_helpers import ask

NEVER = 1_000_000


def test_image_is_given_up_after_three_dead_workers_and_harms_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison, *others = [ask(seed=seed) for seed in (1, 2, 3)]
    tasks.submit()
    end_leases()
    tasks.poll()
    download = downloading.download_image

    def download_or_die(*, image: RemoteImage) -> Any:
        if image.request_id == poison.pk:
            os.kill(os.getpid(), signal.SIGKILL)
        return download(image=image)

    monkeypatch.setattr(downloading, "download_image", download_or_die)
    deaths = 0
    for _ in range(10):
        end_leases()
        was_killed, _ = run_and_kill(tasks.fetch, at=NEVER)
        deaths += was_killed
    run_until_quiet()

    assert deaths == downloading.CRASHES_MAX == 3
    poison.refresh_from_db()
    assert (poison.status, poison.reason) == ("failed", "IMAGES_LOST")
    assert "crashed its worker 3 times" in poison.error
    for other in others:
        other.refresh_from_db()
        assert (other.status, other.error) == ("succeeded", "")
    assert_invariants()
