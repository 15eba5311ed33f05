"""The decoder's child process, which must protect the parent from every file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from generation import imaging
from generation.imaging import DecoderUnavailableError, UnreadableImageError, pool, render
from generation.imaging.decode import decode_image
from tests.generation.imaging.pictures import encoded, gif_bomb, picture, png

ROOT = Path(__file__).resolve().parents[3]
GOOD = encoded(picture(), "PNG")


@pytest.fixture(scope="module", autouse=True)
def _close() -> Iterator[None]:
    yield
    pool.close()


def children() -> list[int]:
    return [server.process_id for server in pool._pool._all]


def only_child() -> int:
    """Restart the pool with one decoder, and return its process id."""
    pool.close()
    render(GOOD)
    (process_id,) = children()
    return process_id


def cpu_seconds(process_id: int) -> float:
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime


def gone(process_id: int) -> bool:
    """Wait up to 60 s for the end of a process, and return True if it has ended."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF"])
def test_child_returns_the_same_rendition_as_decode_image(file_format: str) -> None:
    content = encoded(picture(300, 200), file_format)
    assert render(content) == decode_image(content)


def test_child_is_reused_for_further_images() -> None:
    render(GOOD)
    before = children()
    for _ in range(5):
        render(GOOD)
    assert children() == before


def test_child_reports_refused_files_with_their_error_code() -> None:
    for content, code in (
        (b"", "empty"),
        (b"<svg/>", "unsupported"),
        (png(9000, 9000, rows=b""), "too-many-pixels"),
    ):
        with pytest.raises(UnreadableImageError) as caught:
            render(content)
        assert caught.value.code == code
        assert not caught.value.retryable
    with pytest.raises(UnreadableImageError, match="larger than 20 MiB"):
        render(bytes(imaging.MAX_BYTES + 1))


def test_largest_flat_image_costs_less_than_10_cpu_seconds() -> None:
    process_id = only_child()
    before = cpu_seconds(process_id)
    rendition = render(png(4898, 4898))
    assert (rendition.width, rendition.pdq) == (4898, None)
    assert cpu_seconds(process_id) - before < 10
    assert render(GOOD).width == 96


def test_killed_child_is_replaced() -> None:
    render(GOOD)
    for process_id in children():
        os.kill(process_id, signal.SIGKILL)
        assert gone(process_id)
    assert render(GOOD).width == 96


def test_image_that_kills_the_child_twice_is_refused_as_crashed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    render(GOOD)
    asked = 0

    def ask(server: pool._Server, job: bytes, content: bytes) -> None:
        nonlocal asked
        asked += 1
        server._process.kill()
        server._read(1, time.monotonic() + 5)

    monkeypatch.setattr(pool._Server, "ask", ask)
    with pytest.raises(UnreadableImageError) as caught:
        render(GOOD)
    assert (caught.value.code, caught.value.retryable, asked) == ("crashed", True, 2)
    monkeypatch.undo()
    assert render(GOOD).width == 96


def test_a_child_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    process_id = only_child()
    os.kill(process_id, signal.SIGSTOP)
    monkeypatch.setattr(pool, "WALL_SECONDS", 0.3)
    limits = []
    wait = pool._Server._wait

    def note(descriptor: int, event: int, until: float) -> None:
        limits.append(until - time.monotonic())
        wait(descriptor, event, until)

    monkeypatch.setattr(pool._Server, "_wait", staticmethod(note))
    with pytest.raises(UnreadableImageError) as caught:
        render(
            encoded(picture(1500, 1500), "PNG")
        )  # larger than a pipe's buffer, so that writing blocks too
    assert caught.value.code == "too-slow"
    assert max(limits) <= 0.3, "it waited for the usual limit instead"
    assert gone(process_id)
    monkeypatch.undo()
    assert render(GOOD).width == 96


def test_interrupted_response_is_not_returned_to_the_next_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    render(GOOD)
    honest = pool._Server._answer

    def interrupted(server: pool._Server, until: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pool._Server, "_answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        render(encoded(picture(50, 50), "PNG"))
    monkeypatch.setattr(pool._Server, "_answer", honest)
    assert render(GOOD).width == 96


@pytest.mark.parametrize(
    "tampered",
    [
        {"image_type": "html"},
        {"image_type": "jpeg"},
        {"width": 0},
        {"height": 10**6},
        {"preview": "javascript:x"},
        {"frames": "1"},
        {"metadata": {"a": 1}},
        {"unheard": 1},
        {"source_type": "svg"},
        {"code": "X" * 99},
    ],
    ids=str,
)
def test_response_of_a_compromised_child_is_refused(
    tampered: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = pool._Server.ask

    def ask(server: pool._Server, job: bytes, content: bytes) -> object:
        fields, blobs = honest(server, job, content)
        return {**fields, **tampered}, blobs

    monkeypatch.setattr(pool._Server, "ask", ask)
    with pytest.raises(UnreadableImageError) as caught:
        render(GOOD)
    assert caught.value.code in {"crashed", "broken"}


def test_threads_share_a_limited_number_of_children() -> None:
    contents = [encoded(picture(40 + number, 40), "PNG") for number in range(24)]
    with ThreadPoolExecutor(8) as threads:
        widths = [rendition.width for rendition in threads.map(render, contents)]
    assert widths == [40 + number for number in range(24)]
    assert len(children()) <= pool.SERVERS


def test_child_survives_the_end_of_the_thread_that_started_it() -> None:
    pool.close()
    thread = threading.Thread(target=render, args=(GOOD,))
    thread.start()
    thread.join()
    (before,) = children()
    # The kernel sends its signal before the thread is gone from /proc.
    while thread.native_id is not None and Path(f"/proc/self/task/{thread.native_id}").exists():
        time.sleep(0.01)
    render(GOOD)
    assert children() == [before]


def test_busy_decoders_raise_decoder_unavailable_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "WAIT_SECONDS", 0.01)
    taken = 0
    while pool._pool._free.acquire(blocking=False):
        taken += 1
    try:
        with pytest.raises(DecoderUnavailableError):
            render(GOOD)
    finally:
        pool._pool._free.release(taken)


def test_decoder_that_cannot_start_raises_decoder_unavailable_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pool.close()
    monkeypatch.setattr(pool, "_CHILD", tmp_path / "absent.py")
    with pytest.raises(DecoderUnavailableError):
        render(GOOD)


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + code],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
        check=False,
    )


PRELUDE = """
import os, signal
from generation.imaging import pool, render
from tests.generation.imaging.pictures import encoded, picture
good = encoded(picture(), "PNG")
render(good)
mine = [server.process_id for server in pool._pool._all]
"""


def test_forked_process_starts_its_own_child() -> None:
    done = run(
        PRELUDE
        + """
pid = os.fork()
if pid == 0:
    assert not pool._pool._all
    assert render(good).width == 96
    theirs = [server.process_id for server in pool._pool._all]
    assert theirs and theirs != mine
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert render(good).width == 96
assert [server.process_id for server in pool._pool._all] == mine
print("fine")
"""
    )
    assert done.stdout == "fine\n", done.stderr


@pytest.mark.parametrize(
    "end", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(1)", "sys.exit(0)"]
)
def test_child_ends_with_its_parent(end: str) -> None:
    done = run(PRELUDE + f"print(*mine, flush=True)\n{end}")
    (process_id,) = map(int, done.stdout.split())
    assert gone(process_id)


def test_child_has_no_secrets_and_a_memory_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    pool.close()
    monkeypatch.setenv("SECRET_KEY", "canary")
    render(GOOD)
    (process_id,) = children()
    assert b"canary" not in Path(f"/proc/{process_id}/environ").read_bytes()
    assert "_ssl" not in Path(f"/proc/{process_id}/maps").read_text()
    limits = Path(f"/proc/{process_id}/limits").read_text()
    assert f"Max address space         {1536 * 1024 * 1024}" in limits


def test_child_of_a_large_parent_process_is_reused() -> None:
    done = run(
        PRELUDE
        + """
pool.close()
ballast = b"x" * 400_000_000
render(good)
mine = [server.process_id for server in pool._pool._all]
render(good)
assert mine == [server.process_id for server in pool._pool._all] != []
print("fine")
"""
    )
    assert done.stdout == "fine\n", done.stderr


def test_million_frames_cost_less_than_5_cpu_seconds() -> None:
    process_id = only_child()
    before = cpu_seconds(process_id)
    render(gif_bomb(1_000_000))
    assert cpu_seconds(process_id) - before < 5
