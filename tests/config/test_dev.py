"""The command of ``make run``: no process of it survives its end."""

from __future__ import annotations

import os
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import env
from config.bootstrap import prepare_data_dir
from tests.config.workers import Program, children, processes, until
from tests.ports import free_port


def test_bootstrap_writes_private_settings_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = prepare_data_dir(tmp_path / "new" / "var")
    first = path.read_text()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert prepare_data_dir(path.parent).read_text() == first
    assert os.listdir(path.parent) == ["settings.env"]
    monkeypatch.delenv("SECRET_KEY")
    monkeypatch.delenv("DEBUG")
    env.load_file(path)
    assert len(os.environ["SECRET_KEY"]) >= 50
    assert os.environ["DEBUG"] == "1"


class Desk(Program):
    """A running ``manage.py dev`` with web server and worker."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir, "dev", DEBUG="1", PORT=str(free_port()))
        until(lambda: self.process.poll() is not None or len(self.tree()) > 8)
        assert self.process.poll() is None, self.log.read_text()
        self.all = self.tree()

    def tree(self) -> list[int]:
        """Return all descendants; web server and worker have process sessions of their own."""
        found = [self.process.pid]
        for pid in found:
            found += children(pid)
        return found

    def left(self) -> list[int]:
        alive = processes()
        return [pid for pid in self.all if pid in alive]

    def __exit__(self, *error: object) -> None:
        self.all += self.tree()
        for pid in self.left():
            os.kill(pid, signal.SIGKILL)
        super().__exit__()


@pytest.fixture
def desk(data_dir: Path) -> Iterator[Desk]:
    with Desk(data_dir) as running:
        yield running


@pytest.mark.slow
def test_crashed_worker_is_restarted_and_ctrl_c_ends_every_process(desk: Desk) -> None:
    web, worker = children(desk.process.pid)
    os.kill(children(worker)[0], signal.SIGKILL)
    until(lambda: worker not in (now := children(desk.process.pid)) and len(now) == 2)
    assert web in children(desk.process.pid)
    desk.all += desk.tree()

    os.killpg(desk.process.pid, signal.SIGINT)

    assert desk.code() == 0
    assert not desk.left()


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["dev", "web"])
def test_killed_parent_or_web_server_ends_every_process(desk: Desk, victim: str) -> None:
    web, _ = children(desk.process.pid)
    os.kill(desk.process.pid if victim == "dev" else web, signal.SIGKILL)

    assert desk.code() == (-signal.SIGKILL if victim == "dev" else 1)
    until(lambda: not desk.left())


def test_occupied_port_is_reported_and_ends_the_command(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with Program(tmp_path, "dev", DEBUG="1", PORT=str(port)) as desk:
            assert desk.code() == 1
            assert f"Port {port} cannot be used" in desk.log.read_text()
            assert not desk.session()
