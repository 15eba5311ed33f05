"""PNG and APNG filter. Source: W3C, Portable Network Graphics (Third Edition)."""

from __future__ import annotations

import struct
import zlib
from typing import Final

from generation.imaging.strip.base import (
    IndexedFrame,
    NotClearedError,
    Stripped,
    build_orientation,
    check_profile,
    keeps_mark,
    reduce_xmp,
    require,
    take,
)

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_PALETTE: Final = 3
_SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# Name to the lengths that the chunk may have. Each may occur once.
_KEPT: Final = {
    b"PLTE": range(3, 769, 3),
    b"tRNS": range(1, 257),
    b"gAMA": (4,),
    b"cHRM": (32,),
    b"sRGB": (1,),
    b"sBIT": range(1, 5),
    b"bKGD": (1, 2, 6),
    b"pHYs": (9,),
    b"acTL": (8,),
}
# Colours beyond sRGB without a profile. The rendition ignores them, so people would see others.
_HDR: Final = (b"cICP", b"mDCV", b"cLLI", b"mDCv", b"cLLi")
_GAMMA: Final = range(45000, 46001)  # 1/2.2 and sRGB's 45455, in 1/100,000
_PRIMARIES: Final = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
_PRIMARIES_OFF: Final = 100
_XMP: Final = b"XML:com.adobe.xmp\0"
_PASSES: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_STEP: Final = 4 * 1024 * 1024


class _Png:
    """The kept chunks of one file."""

    def __init__(self, header: bytes) -> None:
        require(len(header) == 13)
        self.width, self.height, self.depth, self.kind = struct.unpack(">IIBB", header[:10])
        require(self.depth in _DEPTHS.get(self.kind, ()) and header[10:12] == b"\0\0")
        self.is_interlaced = header[12] == 1
        require(header[12] <= 1)
        self.seen: set[bytes] = set()
        self.head: list[bytes] = []
        self.body: list[bytes] = []
        self.xmp = b""
        self.announced = 0  # frames by acTL
        self.shown = 0  # frames by fcTL
        self.starts_with_default = False  # the still image is no frame of the animation
        self.sequence = 0
        self.data: list[bytes] = []  # of the current frame
        self.size = (self.width, self.height)
        self.last = b"IHDR"
        self.colours = 0  # of the palette
        self.indexed: list[IndexedFrame] = []

    def add(self, name: bytes, payload: bytes) -> None:
        if name == b"IDAT":
            self._add_image(payload)
        elif name in (b"fcTL", b"fdAT"):
            self._add_frame(name, payload)
        else:
            self._add_other(name, payload)
        self.last = name

    def _add_other(self, name: bytes, payload: bytes) -> None:
        require(name not in _HDR, "colour")
        if name == b"iCCP":
            require(b"IDAT" not in self.seen)
            payload = _rewrite_profile(payload)
        elif name == b"iTXt":
            self._read_xmp(payload)
            return
        elif name == b"caBX":
            if not keeps_mark(payload):
                return
        elif name in _KEPT:
            require(len(payload) in _KEPT[name])
            # Decoders differ in whether they read these elsewhere.
            require(b"IDAT" not in self.seen)
            require(name != b"tRNS" or self.kind != _PALETTE or b"PLTE" in self.seen)
        else:
            require(name[:1].islower(), "unknown-part")  # a critical chunk
            return
        require(name not in self.seen)
        self.seen.add(name)
        _check_colour(name, payload)
        if name == b"PLTE":
            self.colours = len(payload) // 3
        if name == b"acTL":
            self.announced = int.from_bytes(payload[:4], "big")
            require(self.announced and b"IDAT" not in self.seen)
        (self.body if b"IDAT" in self.seen else self.head).append(_chunk(name, payload))

    def _read_xmp(self, payload: bytes) -> None:
        if payload.startswith(_XMP + b"\0\0"):  # not compressed
            self.xmp = self.xmp or reduce_xmp(payload)

    def _add_image(self, payload: bytes) -> None:
        require(b"IDAT" not in self.seen or self.last == b"IDAT")
        if b"IDAT" not in self.seen:
            self.starts_with_default = self.shown == 0
            self.seen.add(b"IDAT")
        self.data.append(payload)
        self.body.append(_chunk(b"IDAT", payload))

    def _add_frame(self, name: bytes, payload: bytes) -> None:
        require(
            b"acTL" in self.seen and int.from_bytes(take(payload, 0, 4), "big") == self.sequence
        )
        self.sequence += 1
        if name == b"fcTL":
            require(len(payload) == 26)
            wide, tall, left, top = struct.unpack(">IIII", payload[4:20])
            require(wide and tall and left + wide <= self.width and top + tall <= self.height)
            if b"IDAT" in self.seen:
                self.finish_frame()
            else:
                require(not self.shown and (wide, tall) == (self.width, self.height))
            self.size = (wide, tall)
            self.shown += 1
        else:
            require(b"IDAT" in self.seen and self.last in (b"fcTL", b"fdAT"))
            self.data.append(payload[4:])
        self.body.append(_chunk(name, payload))

    def finish_frame(self) -> None:
        """Check that the compressed data holds the pixels of the frame and nothing else."""
        bits = self.depth * _SAMPLES[self.kind]
        packed = b"".join(self.data)
        _check_length(packed, _count_bytes(*self.size, bits, self.is_interlaced))
        if self.kind == _PALETTE and self.colours < 1 << self.depth:
            require(self.colours)
            header = struct.pack(">IIBBBBB", *self.size, self.depth, 0, 0, 0, self.is_interlaced)
            parts = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
            content = _SIGNATURE + b"".join(_chunk(name, payload) for name, payload in parts)
            self.indexed.append(
                IndexedFrame(content=content, colours=self.colours, depth=self.depth)
            )
        self.data = []

    def build(self, header: bytes, orientation: int) -> Stripped:
        require(b"IDAT" in self.seen and self.shown == self.announced)
        self.finish_frame()
        has_alpha = self.kind in (4, 6) or b"tRNS" in self.seen
        # Pillow compares the transparent colour with samples that it has cut to 8 bits.
        require(not (b"tRNS" in self.seen and self.depth == 16))
        if orientation != 1:
            self.head.append(_chunk(b"eXIf", build_orientation(orientation)))
        if self.xmp:
            self.head.append(_chunk(b"iTXt", _XMP + b"\0\0\0\0" + self.xmp))
        parts = [_SIGNATURE, _chunk(b"IHDR", header), *self.head, *self.body, _chunk(b"IEND", b"")]
        return Stripped(
            content=b"".join(parts),
            frames=max(1, self.announced + (self.announced > 0 and self.starts_with_default)),
            has_alpha=has_alpha,
            depth=self.depth,
            indexed=tuple(self.indexed),
        )


def strip_png(content: bytes, orientation: int) -> Stripped:
    """Keep pixels, frames, palette, transparency, colour description and mark of origin."""
    require(content.startswith(_SIGNATURE))
    at = len(_SIGNATURE)
    name, header, at = _read_chunk(content, at)
    require(name == b"IHDR")
    png = _Png(header)
    while True:
        name, payload, at = _read_chunk(content, at)
        if name == b"IEND":
            require(not payload)
            return png.build(header, orientation)
        png.add(name, payload)


def _read_chunk(content: bytes, at: int) -> tuple[bytes, bytes, int]:
    length = int.from_bytes(take(content, at, 4), "big")
    name, payload = take(content, at + 4, 4), take(content, at + 8, length)
    require(name.isalpha())
    found = int.from_bytes(take(content, at + 8 + length, 4), "big")
    require(zlib.crc32(payload, zlib.crc32(name)) == found)
    return name, payload, at + 12 + length


def _chunk(name: bytes, payload: bytes) -> bytes:
    crc = zlib.crc32(payload, zlib.crc32(name))
    return len(payload).to_bytes(4, "big") + name + payload + crc.to_bytes(4, "big")


def _check_colour(name: bytes, payload: bytes) -> None:
    """Refuse a gamma and primaries that are not sRGB's: viewers differ in applying them."""
    if name == b"gAMA":
        require(int.from_bytes(payload, "big") in _GAMMA, "colour")
    elif name == b"cHRM":
        found = struct.unpack(">8I", payload)
        off = max(abs(one - known) for one, known in zip(found, _PRIMARIES, strict=True))
        require(off <= _PRIMARIES_OFF, "colour")


def _rewrite_profile(payload: bytes) -> bytes:
    """Return the chunk with a neutral profile name. Raises NotClearedError for a broken one."""
    _, separator, packed = payload.partition(b"\0")
    require(separator and packed[:1] == b"\0", "colour")
    try:
        opened = zlib.decompressobj()
        profile = opened.decompress(packed[1:], 1024 * 1024 + 1)
    except zlib.error:
        raise NotClearedError("colour") from None
    require(opened.eof and not opened.unused_data, "colour")
    check_profile(profile)
    return b"ICC profile\0" + packed


def _count_bytes(width: int, height: int, bits: int, is_interlaced: bool) -> int:
    """Return the length of the filtered rows of an image."""
    passes = _PASSES if is_interlaced else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        wide = max(0, -(-(width - left) // across))
        tall = max(0, -(-(height - top) // down))
        total += tall * (1 + -(-wide * bits // 8)) if wide else 0
    return total


def _check_length(packed: bytes, expected: int) -> None:
    opened, total = zlib.decompressobj(), 0
    try:
        while not opened.eof and total <= expected:
            piece = opened.decompress(packed, _STEP)
            packed = opened.unconsumed_tail
            total += len(piece)
            require(piece or opened.eof)  # the data ends too early
    except zlib.error:
        raise NotClearedError("structure") from None
    require(opened.eof and total == expected and not opened.unused_data)
