"""WebP filter. Source: the page "WebP Container Specification"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from generation.imaging.strip.base import (
    Stripped,
    build_orientation,
    check_profile,
    keeps_mark,
    reduce_xmp,
    require,
    take,
)

_HAS_PROFILE, _HAS_ALPHA, _HAS_EXIF, _HAS_XMP, _IS_ANIMATED = 0x20, 0x10, 0x08, 0x04, 0x02
_IMAGE: Final = (b"VP8 ", b"VP8L")
_FRAME_HEADER: Final = 16


class _WebP:
    """The kept chunks of one file with an extended header."""

    def __init__(self, header: bytes) -> None:
        require(len(header) == 10)
        self.flags, self.canvas = header[0], header[4:]
        self.size = _read_24(header, 4) + 1, _read_24(header, 7) + 1
        self.profile = self.xmp = b""
        self.head: list[bytes] = []
        self.images: list[bytes] = []
        self.tail: list[bytes] = []
        self.frames = 0
        self.has_alpha = False

    def add(self, name: bytes, payload: bytes) -> None:
        if name == b"ICCP":
            require(not self.profile and not self.images, "colour")
            check_profile(payload)
            self.profile = payload
        elif name == b"ANIM":
            require(self.flags & _IS_ANIMATED and len(payload) == 6 and not self.head)
            self.head.append(_chunk(name, payload))
        elif name == b"ANMF":
            self._add_frame(payload)
        elif name == b"ALPH" or name in _IMAGE:
            require(not self.flags & _IS_ANIMATED)
            self._add_image(name, payload, self.images)
        elif name == b"XMP ":
            self.xmp = self.xmp or reduce_xmp(payload)
        elif name == b"C2PA" and keeps_mark(payload):
            self.tail.append(_chunk(name, payload))
        else:
            require(name not in (b"VP8X", b"RIFF"))

    def _add_frame(self, payload: bytes) -> None:
        require(self.flags & _IS_ANIMATED and len(payload) > _FRAME_HEADER and self.head)
        left, top = 2 * _read_24(payload, 0), 2 * _read_24(payload, 3)
        wide, tall = _read_24(payload, 6) + 1, _read_24(payload, 9) + 1
        require(left + wide <= self.size[0] and top + tall <= self.size[1])
        parts: list[bytes] = []
        for name, inner in _iter_chunks(payload, _FRAME_HEADER, len(payload)):
            if name == b"ALPH" or name in _IMAGE:
                self._add_image(name, inner, parts)
        require(parts and parts[-1][:4] in _IMAGE)
        self.images.append(_chunk(b"ANMF", payload[:_FRAME_HEADER] + b"".join(parts)))
        self.frames += 1

    def _add_image(self, name: bytes, payload: bytes, parts: list[bytes]) -> None:
        """Add ALPH before VP8, or one VP8 or VP8L."""
        require(not parts or (parts[-1][:4], name) == (b"ALPH", b"VP8 "))
        self.has_alpha |= name == b"ALPH" or _is_transparent(name, payload)
        parts.append(_chunk(name, payload))

    def build(self, orientation: int) -> Stripped:
        animated = self.flags & _IS_ANIMATED
        require(self.images and (animated or self.images[-1][:4] in _IMAGE))
        require(bool(self.profile) == bool(self.flags & _HAS_PROFILE), "colour")
        # Decoders differ in whether they read alpha that the header does not announce.
        require(not self.has_alpha or self.flags & _HAS_ALPHA)
        flags = self.flags & (_HAS_PROFILE | _HAS_ALPHA | _IS_ANIMATED)
        if orientation != 1:
            self.tail.insert(0, _chunk(b"EXIF", build_orientation(orientation)))
            flags |= _HAS_EXIF
        if self.xmp:
            self.tail.append(_chunk(b"XMP ", self.xmp))
            flags |= _HAS_XMP
        profile = [_chunk(b"ICCP", self.profile)] if self.profile else []
        header = _chunk(b"VP8X", bytes([flags, 0, 0, 0]) + self.canvas)
        return Stripped(
            content=_wrap([header, *profile, *self.head, *self.images, *self.tail]),
            frames=max(1, self.frames),
            has_alpha=self.has_alpha or bool(flags & _HAS_ALPHA),
        )


def strip_webp(content: bytes, orientation: int) -> Stripped:
    """Keep images, frames, transparency, profile and mark of origin."""
    require(content[:4] == b"RIFF" and content[8:12] == b"WEBP")
    end = 8 + int.from_bytes(take(content, 4, 4), "little")
    require(end <= len(content))
    chunks = _iter_chunks(content, 12, end)
    name, payload = next(chunks, (b"", b""))
    if name in _IMAGE:  # the simple format: further chunks have no meaning
        require(orientation == 1)
        return Stripped(
            content=_wrap([_chunk(name, payload)]), has_alpha=_is_transparent(name, payload)
        )
    require(name == b"VP8X", "unknown-part")
    webp = _WebP(payload)
    for name, payload in chunks:
        webp.add(name, payload)
    return webp.build(orientation)


def _is_transparent(name: bytes, payload: bytes) -> bool:
    """Return the alpha bit of a lossless image, after its signature and two 14-bit sizes."""
    return name == b"VP8L" and bool(take(payload, 4, 1)[0] & 0x10)


def _read_24(content: bytes, at: int) -> int:
    return int.from_bytes(take(content, at, 3), "little")


def _iter_chunks(content: bytes, at: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    while at < end:
        length = int.from_bytes(take(content, at + 4, 4), "little")
        yield take(content, at, 4), take(content, at + 8, length)
        at += 8 + length + length % 2
    # Some writers leave out the last padding byte.
    require(at - end in (0, 1))


def _chunk(name: bytes, payload: bytes) -> bytes:
    return name + len(payload).to_bytes(4, "little") + payload + b"\0" * (len(payload) % 2)


def _wrap(parts: list[bytes]) -> bytes:
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + len(body).to_bytes(4, "little") + body
