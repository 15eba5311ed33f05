"""``import_images --jobs``: several real processes with one database."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.config.workers import Program, until

pytestmark = pytest.mark.slow
FILES = 16


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder with 16 images, a copy of one, and a file that is no image."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(1)
    for number in range(FILES):
        pixels = random.integers(0, 255, (300, 300, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    (folder / "00-copy.png").write_bytes((folder / "00.png").read_bytes())
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def run(data_dir: Path, *arguments: str, **more: str) -> tuple[int, str, Program]:
    with Program(data_dir, "import_images", *arguments, DEBUG="1", **more) as program:
        code = program.code()
    text = program.log.read_text()
    program.log.unlink()
    return code, text, program


def test_parallel_import_stores_each_file_once(data_dir: Path, pictures: Path) -> None:
    code, text, program = run(data_dir, str(pictures), "--jobs=4")

    assert code == 0
    assert f"{FILES} images stored" in text
    assert "1 already known, 1 refused" in text
    assert "broken.png: This is not" in text
    assert f"{FILES + 2}/{FILES + 2}, 1 refused" in text
    assert program.sql("SELECT count(*) FROM generation_asset") == [(FILES,)]
    assert program.sql("SELECT count(*) FROM moderation_review") == [(FILES,)]

    code, text, _ = run(data_dir, str(pictures), "--jobs=4")
    assert code == 0
    assert f"0 images stored and queued for classification, {FILES + 1} already" in text


def test_killed_import_leaves_no_process_and_resumes(data_dir: Path, pictures: Path) -> None:
    with Program(data_dir, "import_images", str(pictures), "--jobs=4", DEBUG="1") as first:
        until(lambda: first.sql("SELECT 1 FROM generation_asset LIMIT 1"))
        os.kill(first.process.pid, signal.SIGKILL)
        until(lambda: not first.session())
    done = first.sql("SELECT count(*) FROM generation_asset")[0][0]

    code, text, program = run(data_dir, str(pictures), "--jobs=4")

    assert code == 0
    stored, known = map(int, re.findall(r"(\d+) (?:images stored|already known)", text))
    assert (stored, known) == (FILES - done, done + 1)
    assert program.sql("SELECT count(*), count(DISTINCT source_sha256) FROM generation_asset") == [
        (FILES, FILES)
    ]


def test_storage_fault_stops_all_processes(data_dir: Path, pictures: Path) -> None:
    code, text, program = run(
        data_dir, str(pictures), "--jobs=4", STORAGE_RESERVE_MB="1000000", LOG_LEVEL="CRITICAL"
    )

    assert code == 1
    assert "Stopped at " in text
    assert "Then run the same command again" in text
    assert "0 images stored" in text
    assert program.sql("SELECT count(*) FROM generation_asset") == [(0,)]


@pytest.mark.parametrize("jobs", ["0", "257"])
def test_number_of_processes_is_checked(data_dir: Path, pictures: Path, jobs: str) -> None:
    code, text, _ = run(data_dir, str(pictures), f"--jobs={jobs}")

    assert (code, "--jobs must be from 1 to 256." in text) == (1, True)
