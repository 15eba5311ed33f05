"""Decoder process without Django, secrets or network: image bytes in, renditions out.

A request is a byte that names the job, an 8-byte big-endian length, and an image of that length. A
response is such a length, a JSON object of that length, then the blobs whose lengths the object
lists. No pickle: if a decoder were compromised, its responses would still be only data.

Started by ``pool`` as ``python -I child.py <parent's process ID>``; ends when stdin closes.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import struct
import sys
from pathlib import Path
from typing import Any, Final

# Bytes of address space. 24 megapixels as RGBA, three copies, take 300 MiB.
MEMORY: Final = 1536 * 1024 * 1024
CPU_SECONDS: Final = 10  # per image
# If the allocator returns little memory, a process above this size exits after its response and is
# replaced.
RESIDENT: Final = 256 * 1024 * 1024  # bytes
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
UNAVAILABLE: Final = "unavailable"  # a fault of the machine, not of the image
LENGTH: Final = struct.Struct(">Q")
REQUEST: Final = struct.Struct(">cQ")
BLUR: Final = b"B"  # the other job is to render


def main(parent: int) -> None:
    """Serve images until stdin closes or the process has grown too large."""
    _die_with(parent)
    # Output of libraries must not reach the pipe.
    wire = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from PIL import Image

    # The slow imports come after the parent's death is watched.
    from generation.imaging import decode

    Image.init()
    _set_limits()
    _send_response(wire, {"ready": True})
    while (request := _receive_request()) is not None:
        _allow_cpu()
        job, content = request
        if job == BLUR:
            answer, blobs = _answer(_blur, decode.blur_image, content)
        else:
            answer, blobs = _answer(_decode, decode.decode_image, content)
        del content, request
        grown = _read_resident_bytes() > RESIDENT
        _send_response(wire, {**answer, "last": grown}, *blobs)
        if grown:
            return


def _die_with(parent: int) -> None:
    """Let the kernel kill this process when its parent dies; forbid new privileges."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:  # the parent died before prctl
        os._exit(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes our stdin


def _set_limits() -> None:
    """Limit memory, files and descriptors; forbid core files and writes."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would contain the image
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))


def _allow_cpu() -> None:
    """Raise the soft CPU limit by CPU_SECONDS; beyond it SIGXCPU ends the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + CPU_SECONDS + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _read_resident_bytes() -> int:
    """Return the resident memory in bytes.

    Not ``ru_maxrss``, which starts with the size of the process that forked this one.
    """
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _answer(job: Any, function: Any, content: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Do a job with one image and return the response's fields and blobs."""
    from generation.imaging.rendition import UnreadableImageError

    try:
        fields, blobs = job(function, content)
    except UnreadableImageError as error:
        return {"code": error.code, "message": str(error)}, []
    except MemoryError:
        return {"code": "too-complex", "message": "The image needs too much memory."}, []
    except OSError as error:
        return {"code": UNAVAILABLE, "message": os.strerror(error.errno or 0)}, []
    return fields, blobs


def _blur(blur: Any, content: bytes) -> tuple[dict[str, Any], list[bytes]]:
    blurred = blur(content)
    return {"image_type": blurred.image_type}, [blurred.content]


def _decode(decode: Any, content: bytes) -> tuple[dict[str, Any], list[bytes]]:
    rendition = decode(content)
    blobs = [
        rendition.content,
        rendition.thumbnail,
        rendition.pdq or b"",
        rendition.original or b"",
    ]
    blobs += rendition.views.values()
    fields = {
        name: getattr(rendition, name)
        for name in (
            "image_type",
            "width",
            "height",
            "source_type",
            "preview",
            "pdq_quality",
            "frames",
            "metadata",
            "original_problem",
            "differs",
        )
    }
    fields["views"] = list(rendition.views)
    return fields, blobs


def _receive_request() -> tuple[bytes, bytes] | None:
    """Read one job and its image from stdin; None when stdin is closed."""
    head = _read_exactly(REQUEST.size)
    if head is None:
        return None
    job, length = REQUEST.unpack(head)
    content = _read_exactly(length)
    return None if content is None else (job, content)


def _read_exactly(count: int) -> bytes | None:
    """Read exactly ``count`` bytes from stdin; None when it is closed before."""
    parts = bytearray()
    while len(parts) < count:
        piece = os.read(0, min(count - len(parts), 1 << 20))
        if not piece:
            return None
        parts += piece
    return bytes(parts)


def _send_response(wire: int, fields: dict[str, Any], *blobs: bytes) -> None:
    """Write one response: length, JSON object, blobs."""
    head = json.dumps({**fields, "blobs": [len(blob) for blob in blobs]}).encode()
    for part in (LENGTH.pack(len(head)), head, *blobs):
        view = memoryview(part)
        while view:
            view = view[os.write(wire, view) :]


if __name__ == "__main__":
    main(int(sys.argv[1]))
