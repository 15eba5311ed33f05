"""Parent side of the decoder processes: start, communicate with time limits, replace.

Uses subprocesses, not multiprocessing, because queue workers are daemonic and may not have such
children. A pool belongs to one process: after a fork the new process drops the inherited pool and
starts its own decoders on demand.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import re
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from generation.imaging.rendition import (
    DIFFERENCES,
    IMAGE_TYPES,
    MAX_PIXELS,
    MAX_SIDE,
    SOURCE_TYPES,
    VIEW_KINDS,
    Blurred,
    DecoderUnavailableError,
    Rendition,
    UnreadableImageError,
    check_bytes,
)

WALL_SECONDS: Final = 10.0  # per image, from the first byte sent to the last byte received
START_SECONDS: Final = 30.0  # importing the decoder takes 0.3 s on an idle machine
WAIT_SECONDS: Final = 60.0  # wait for a free decoder
# Per process; started only as needed.
SERVERS: Final = max(1, min(2, os.cpu_count() or 1))

_LENGTH: Final = struct.Struct(">Q")  # as in child.py, like the next two
_REQUEST: Final = struct.Struct(">cQ")
_RENDER, _BLUR = b"R", b"B"
_MAX_HEAD: Final = 1024 * 1024
_MAX_BLOB: Final = 5 * MAX_PIXELS  # a PNG of noise is slightly larger than its pixels
_PIECE: Final = 1024 * 1024
_UNAVAILABLE: Final = "unavailable"  # as in child.py
_CHILD: Final = Path(__file__).with_name("child.py")
_CODE: Final = re.compile(r"[a-z-]{1,32}")
_PREVIEW: Final = re.compile(r"data:image/webp;base64,[A-Za-z0-9+/]{1,2000}={0,2}")
_MAGIC: Final = {
    "png": b"\x89PNG\r\n\x1a\n",
    "jpeg": b"\xff\xd8\xff",
    "webp": b"RIFF",
    "gif": b"GIF8",
}


class _ChildDiedError(Exception):
    """The child closed the pipe or sent an invalid response."""


class _TimeLimitError(Exception):
    """The time limit has passed."""


class _Server:
    """One child process and its pipes."""

    def __init__(self) -> None:
        # The child gets none of our environment variables: it needs no key and cannot leak what it
        # does not have.
        environment = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
        environment |= {
            name: os.environ[name] for name in ("LD_LIBRARY_PATH", "PATH") if name in os.environ
        }
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(_CHILD), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            env=environment,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        os.set_blocking(self._in.fileno(), False)
        os.set_blocking(self._out.fileno(), False)
        try:
            self._answer(time.monotonic() + START_SECONDS)
        except (_ChildDiedError, _TimeLimitError):
            self.kill()
            raise DecoderUnavailableError("The image decoder could not be started.") from None

    @property
    def process_id(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def out_of_time(self) -> bool:
        """True if the kernel ended the child for its CPU limit."""
        return self._process.returncode == -signal.SIGXCPU

    def ask(self, job: bytes, content: bytes) -> tuple[dict[str, Any], list[bytes]]:
        """Send an image and return the response's fields and blobs.

        Raises _ChildDiedError or _TimeLimitError; the server must be killed after either.
        """
        until = time.monotonic() + WALL_SECONDS
        for part in (_REQUEST.pack(job, len(content)), content):
            view = memoryview(part)
            while view:
                self._wait(self._in.fileno(), select.POLLOUT, until)
                try:
                    view = view[os.write(self._in.fileno(), view[:_PIECE]) :]
                except BlockingIOError:
                    continue
                except OSError:
                    raise _ChildDiedError from None
        return self._answer(until)

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        self._in.close()
        self._out.close()

    def forget(self) -> None:
        """Drop an inherited child after a fork.

        Closes our copies of its pipes, so that the child ends with its real parent.
        """
        self._process.returncode = 0
        self._in.close()
        self._out.close()

    def _answer(self, until: float) -> tuple[dict[str, Any], list[bytes]]:
        length = _LENGTH.unpack(self._read(_LENGTH.size, until))[0]
        if length > _MAX_HEAD:
            raise _ChildDiedError
        try:
            fields = json.loads(self._read(length, until))
            sizes = fields.pop("blobs")
            if not all(type(size) is int and 0 <= size <= _MAX_BLOB for size in sizes):
                raise _ChildDiedError
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise _ChildDiedError from None
        return fields, [self._read(size, until) for size in sizes]

    def _read(self, count: int, until: float) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            self._wait(self._out.fileno(), select.POLLIN, until)
            try:
                piece = os.read(self._out.fileno(), min(count - len(parts), _PIECE))
            except BlockingIOError:
                continue
            if not piece:
                raise _ChildDiedError
            parts += piece
        return bytes(parts)

    @staticmethod
    def _wait(descriptor: int, event: int, until: float) -> None:
        poll = select.poll()  # select() fails on descriptors above 1023
        poll.register(descriptor, event)
        if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
            raise _TimeLimitError


class _Pool:
    """The decoder processes of this process."""

    def __init__(self) -> None:
        self._free = threading.Semaphore(SERVERS)
        self._lock = threading.Lock()
        self._idle: list[_Server] = []
        self._all: set[_Server] = set()
        # The kernel's parent-death signal follows the thread that started the child. One thread
        # that lives as long as the process therefore starts them all.
        self._starter: ThreadPoolExecutor | None = None

    def ask(self, job: bytes, content: bytes) -> tuple[dict[str, Any], list[bytes]]:
        """Return the fields and blobs of a decoder's response, which may name an error."""
        if not self._free.acquire(timeout=WAIT_SECONDS):
            raise DecoderUnavailableError("All image decoders are busy.")
        try:
            # Retry once if the child dies: it may have been killed from outside. A harmful image
            # kills it twice.
            for last in (False, True):
                server = self._take()
                try:
                    fields, blobs = server.ask(job, content)
                except _TimeLimitError:
                    self._drop(server)
                    raise _too_slow_error() from None
                except _ChildDiedError:
                    self._drop(server)
                    if server.out_of_time:
                        raise _too_slow_error() from None
                    if last:
                        raise UnreadableImageError(
                            "The image makes the decoder crash.", code="crashed"
                        ) from None
                    continue
                # An interrupt or a worker's timeout: unread response data is still in the pipe.
                except BaseException:
                    self._drop(server)
                    raise
                self._give_back(server, ends=fields.pop("last", False) is True)
                return fields, blobs
            raise AssertionError("unreachable")
        finally:
            self._free.release()

    def _take(self) -> _Server:
        with self._lock:
            while self._idle:
                server = self._idle.pop()
                if server.alive:
                    return server
                self._all.discard(server)
                server.kill()
            if self._starter is None:
                self._starter = ThreadPoolExecutor(1, thread_name_prefix="decoder-starter")
            starter = self._starter
        try:
            server = starter.submit(_Server).result()
        # No memory, no processes left, or the interpreter is shutting down.
        except (OSError, RuntimeError) as error:
            raise DecoderUnavailableError("The image decoder could not be started.") from error
        with self._lock:
            self._all.add(server)
        return server

    def _give_back(self, server: _Server, *, ends: bool) -> None:
        if ends:
            self._drop(server)
        else:
            with self._lock:
                self._idle.append(server)

    def _drop(self, server: _Server) -> None:
        with self._lock:
            self._all.discard(server)
        server.kill()

    def close(self) -> None:
        with self._lock:
            servers, self._all, self._idle = self._all, set(), []
        for server in servers:
            server.kill()

    def forget(self) -> None:
        # Without the lock: a lock held at the fork is never released in the child.
        for server in self._all:
            server.forget()


_pool = _Pool()


def render(content: bytes) -> Rendition:
    """Decode untrusted bytes; see ``generation.imaging.render``."""
    check_bytes(content)
    return _build_rendition(content, *_pool.ask(_RENDER, content))


def blur(content: bytes) -> Blurred:
    """Blur a rendition; see ``generation.imaging.blur``."""
    # Not limited in bytes: a PNG of noise is larger than the file that it was made of.
    fields, blobs = _pool.ask(_BLUR, content)
    _raise_error(fields)
    try:
        (body,) = blobs
        image_type = fields["image_type"]
        if image_type not in IMAGE_TYPES or not body.startswith(_MAGIC[image_type]):
            raise ValueError
    except (ValueError, TypeError, KeyError):
        raise _nonsense_error() from None
    return Blurred(content=body, image_type=image_type)


def close() -> None:
    """End all decoders of this process; the next image starts new ones."""
    _pool.close()


def _after_fork() -> None:
    global _pool
    _pool.forget()
    _pool = _Pool()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(close)


def _too_slow_error() -> UnreadableImageError:
    return UnreadableImageError(
        f"The image takes longer than {WALL_SECONDS:.0f} seconds to decode.", code="too-slow"
    )


def _build_rendition(content: bytes, fields: dict[str, Any], blobs: list[bytes]) -> Rendition:
    """Validate the child's response and build the rendition.

    The response is untrusted, because an attacker would compromise the decoder.
    """
    _raise_error(fields)
    try:
        body, thumbnail, pdq, original, *views = blobs
        kinds, differs = fields.pop("views"), fields.pop("differs")
        sane = (
            _is_sane_rendition(fields, body, thumbnail, pdq)
            and _is_sane_original(fields, original)
            and all(code in DIFFERENCES for code in differs)
            and all(kind in VIEW_KINDS for kind in kinds)
            and all(view.startswith(_MAGIC["webp"]) for view in views)
        )
        if not sane:
            raise ValueError
        return Rendition(
            content=body,
            sha256=hashlib.sha256(body).hexdigest(),
            source_sha256=hashlib.sha256(content).hexdigest(),
            source_bytes=len(content),
            thumbnail=thumbnail,
            pdq=pdq or None,
            original=original or None,
            differs=tuple(differs),
            views=dict(zip(kinds, views, strict=True)),
            **fields,
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        raise _nonsense_error() from None


def _raise_error(fields: dict[str, Any]) -> None:
    """Raise the error that a response names, if any."""
    if "code" not in fields:
        return
    code, message = str(fields["code"]), str(fields.get("message", ""))[:200]
    if code == _UNAVAILABLE:
        raise DecoderUnavailableError(f"The image decoder failed: {message}.")
    raise UnreadableImageError(message, code=code if _CODE.fullmatch(code) else "broken")


def _nonsense_error() -> UnreadableImageError:
    return UnreadableImageError("The image makes the decoder answer nonsense.", code="crashed")


def _is_sane_rendition(fields: dict[str, Any], body: bytes, thumbnail: bytes, pdq: bytes) -> bool:
    return (
        fields["image_type"] in IMAGE_TYPES
        and fields["source_type"] in SOURCE_TYPES
        and body.startswith(_MAGIC[fields["image_type"]])
        and thumbnail.startswith(_MAGIC["webp"])
        and len(pdq) in {0, 32}
        and bool(_PREVIEW.fullmatch(fields["preview"]))
        and all(type(fields[name]) is int for name in ("width", "height", "pdq_quality", "frames"))
        and 1 <= fields["width"] <= MAX_SIDE
        and 1 <= fields["height"] <= MAX_SIDE
        and all(
            isinstance(key, str) and isinstance(value, str)
            for key, value in fields["metadata"].items()
        )
    )


def _is_sane_original(fields: dict[str, Any], original: bytes) -> bool:
    """Check that there is either a file of the source's type or a code that says why not."""
    problem = fields["original_problem"]
    if original:
        return problem == "" and original.startswith(_MAGIC[fields["source_type"]])
    return _CODE.fullmatch(problem) is not None
