"""JPEG filter. Source: ITU-T T.81 annex B; JFIF 1.02; ICC.1:2022 annex B.4."""

from __future__ import annotations

from collections.abc import Callable
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

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_DQT, _DHT, _DRI, _SOS, _COM = 0xDB, 0xC4, 0xDD, 0xDA, 0xFE
_PROGRESSIVE: Final = 0xC2
_FRAMES: Final = (0xC0, 0xC1, _PROGRESSIVE)  # baseline, extended; all with Huffman codes
_APP: Final = range(0xE0, 0xF0)
# Bytes that may follow FF inside entropy-coded data: zero, a restart marker, or a fill byte FF.
_INSIDE: Final = frozenset([0x00, *range(0xD0, 0xD8), 0xFF])
_ICC: Final = b"ICC_PROFILE\0"
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"


class _Scans:
    """The progress of a file: each coefficient is sent once, and then only refined.

    Source: ITU-T T.81 G.1.1.1. A file that sends a coefficient anew holds several pictures: some
    decoders show the first one, others the last.
    """

    def __init__(self, components: bytes, *, is_progressive: bool) -> None:
        require(components and len(set(components)) == len(components))
        self.components, self.is_progressive = components, is_progressive
        # Bits that are still missing, by component and number of the coefficient.
        self.precision: dict[tuple[int, int], int] = {}

    def add(self, components: bytes, first: int, last: int, approximation: int) -> None:
        if not self.is_progressive:
            first, last, approximation = 0, 63, 0
        high, low = divmod(approximation, 16)
        require(first <= last <= 63 and (first > 0 or last == 0 or not self.is_progressive))
        require(components and (first == 0 or len(components) == 1))
        require(high in (0, low + 1))
        for component in components:
            require(
                component in self.components and (first == 0 or (component, 0) in self.precision)
            )
            for number in range(first, last + 1):
                before = self.precision.get((component, number))
                require(before == (high or None))
                self.precision[component, number] = low

    @property
    def is_complete(self) -> bool:
        """Return whether every component has been sent."""
        return all((component, 0) in self.precision for component in self.components)


class _Jpeg:
    """The kept parts of one file."""

    def __init__(self) -> None:
        self.jfif = self.adobe = self.xmp = b""
        self.profile: dict[int, bytes] = {}
        self.mark: list[bytes] = []
        self.body: list[bytes] = []
        self.scans: _Scans | None = None  # known from the frame header on

    def add(self, marker: int, payload: bytes) -> None:
        if marker in _APP:
            self._add_application(marker, payload)
        elif marker != _COM:
            self._check(marker, payload)
            self.body.append(_segment(marker, payload))

    def _add_application(self, marker: int, payload: bytes) -> None:
        if marker == 0xE0 and payload.startswith(b"JFIF\0") and len(payload) >= 14:
            # Without the thumbnail that may follow.
            self.jfif = self.jfif or payload[:12] + b"\0\0"
        elif marker == 0xEE and payload.startswith(b"Adobe") and len(payload) >= 12:
            # Flags 0 and 1 name Photoshop's settings; the last byte is the colour transform.
            self.adobe = self.adobe or payload[:12]
        elif marker == 0xE2 and payload.startswith(_ICC) and len(payload) > 14:
            require(payload[12] not in self.profile and payload[12] <= payload[13], "colour")
            self.profile[payload[12]] = payload
        elif marker == 0xEB and payload.startswith(b"JP"):
            self.mark.append(payload)
        elif marker == 0xE1 and payload.startswith(_XMP):
            self.xmp = self.xmp or reduce_xmp(payload[len(_XMP) :])

    def _check(self, marker: int, payload: bytes) -> None:
        if marker in _FRAMES:
            require(not self.scans)
            require(len(payload) >= 6 and payload[0] == 8 and len(payload) == 6 + 3 * payload[5])
            self.scans = _Scans(payload[6::3], is_progressive=marker == _PROGRESSIVE)
        elif marker == _DQT:
            # Decoders differ in which scans a table between scans belongs to.
            require(not (self.scans and self.scans.precision))
            _check_tables(payload, lambda at: 65 + 64 * (payload[at] >> 4))
        elif marker == _DHT:
            _check_tables(payload, lambda at: 17 + sum(take(payload, at + 1, 16)))
        elif marker == _DRI:
            require(len(payload) == 2)
        else:
            require(marker == _SOS, "unknown-part")
            require(self.scans and payload and len(payload) == 4 + 2 * payload[0])
            assert self.scans is not None
            self.scans.add(payload[1:-3:2], *payload[-3:])

    def build(self, orientation: int) -> bytes:
        require(self.scans and self.scans.is_complete)
        if self.profile:
            numbers = sorted(self.profile)
            whole = {payload[13] for payload in self.profile.values()}
            require(
                numbers == list(range(1, len(numbers) + 1)) and whole == {len(numbers)}, "colour"
            )
            check_profile(b"".join(self.profile[number][14:] for number in numbers))
        head = [_segment(0xE0, self.jfif)] if self.jfif else []
        if orientation != 1:
            head.append(_segment(0xE1, b"Exif\0\0" + build_orientation(orientation)))
        if self.xmp:
            head.append(_segment(0xE1, _XMP + self.xmp))
        head += [_segment(0xE2, self.profile[number]) for number in sorted(self.profile)]
        if self.mark and keeps_mark(b"".join(self.mark)):
            head += [_segment(0xEB, payload) for payload in self.mark]
        if self.adobe:
            head.append(_segment(0xEE, self.adobe))
        return b"".join([_SOI, *head, *self.body, _EOI])


def _segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


def _check_tables(payload: bytes, measure: Callable[[int], int]) -> None:
    """Check that the tables of a segment fill it exactly."""
    at = 0
    while at < len(payload):
        require(payload[at] >> 4 <= 1 and payload[at] & 15 <= 3)
        at += measure(at)
    require(payload and at == len(payload))


def strip_jpeg(content: bytes, orientation: int) -> Stripped:
    """Keep tables, scans, JFIF and Adobe headers, profile and mark of origin."""
    require(content.startswith(_SOI))
    jpeg, at = _Jpeg(), 2
    while True:
        require(content[at] == 0xFF)
        while content[at] == 0xFF:
            at += 1
        marker = content[at]
        if marker == _EOI[1]:
            return Stripped(content=jpeg.build(orientation))
        require(marker >= 0xC0 and marker not in range(0xD0, 0xD9), "unknown-part")
        length = int.from_bytes(take(content, at + 1, 2), "big")
        require(length >= 2)
        jpeg.add(marker, take(content, at + 3, length - 2))
        at += 1 + length
        if marker == _SOS:
            end = _find_marker(content, at)
            jpeg.body.append(content[at:end])
            at = end


def _find_marker(content: bytes, at: int) -> int:
    """Return the position of the marker that ends the entropy-coded data from ``at`` on."""
    at = content.index(b"\xff", at)
    while content[at + 1] in _INSIDE:
        at = content.index(b"\xff", at + 1)
    return at
