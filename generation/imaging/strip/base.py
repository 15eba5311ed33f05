"""Parts that several file formats share: orientation, profile, marks of origin."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final

_PROFILE_MAX: Final = 1024 * 1024
_MARK_MAX: Final = 512 * 1024
# Signs of pictures, packed content and statements about people inside a C2PA manifest.
_UNFIT_FOR_MARK: Final = (
    b"\xff\xd8\xff",
    b"\x89PNG",
    b"WEBP",
    b"GIF8",
    b"bidb",
    b"brob",
    b"c2pa.thumbnail",
    b"cawg.",
    b"exif",
    b"Exif",
    b"GPS",
    b"schema.org",
    b"schema-org",
    b"stds.iptc",
)
# Terms of IPTC's vocabulary "Digital Source Type". Only these pass, so no free text does.
_SOURCE_TYPES: Final = (
    "trainedAlgorithmicMedia",
    "compositeWithTrainedAlgorithmicMedia",
    "compositeSynthetic",
    "algorithmicMedia",
    "algorithmicallyEnhanced",
    "dataDrivenMedia",
    "digitalCapture",
    "digitalCreation",
    "humanEdits",
)
_SOURCE_TYPE: Final = re.compile(
    r"DigitalSourceType(?:=[\"']|>|\s+rdf:resource=[\"'])"
    r"https?://cv\.iptc\.org/newscodes/digitalsourcetype/([A-Za-z]{1,64})[\"'<]"
)
_XMP: Final = (
    "<x:xmpmeta xmlns:x='adobe:ns:meta/'>"
    "<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
    "<rdf:Description rdf:about='' xmlns:Iptc4xmpExt='http://iptc.org/std/Iptc4xmpExt/2008-02-29/'"
    " Iptc4xmpExt:DigitalSourceType='http://cv.iptc.org/newscodes/digitalsourcetype/%s'/>"
    "</rdf:RDF></x:xmpmeta>"
)


class NotClearedError(Exception):
    """A file that cannot be delivered as made; ``code`` is stable.

    Codes: structure, unknown-part, colour, hidden-frames, too-many-frames, too-large, pixels.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedFrame:
    """A frame whose pixels could name colours behind the end of its palette.

    Viewers differ in what they show there: black, nothing, or a grey of the pixel's number.
    """

    content: bytes  # the frame as a grey image, whose samples are the pixels' numbers
    colours: int  # of the palette
    depth: int = 8  # bits per sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Stripped:
    """A file without metadata, and what its structure says about the picture."""

    content: bytes
    frames: int = 1
    has_alpha: bool = False  # the format can hold transparency; the pixels may be opaque
    depth: int = 8  # bits per sample
    indexed: tuple[IndexedFrame, ...] = ()  # to be checked


def require(condition: object, code: str = "structure") -> None:
    """Raise NotClearedError unless the condition holds."""
    if not condition:
        raise NotClearedError(code)


def take(content: bytes, start: int, length: int) -> bytes:
    """Return exactly ``length`` bytes. Raises NotClearedError if the file ends before."""
    require(start >= 0 and length >= 0 and start + length <= len(content))
    return content[start : start + length]


def build_orientation(orientation: int) -> bytes:
    """Return a TIFF block with the orientation as its only tag."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"MM\x00*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)


def reduce_xmp(packet: bytes) -> bytes:
    """Return an XMP packet with the IPTC digital source type alone; empty without a known one."""
    found = _SOURCE_TYPE.search(packet.decode("latin-1"))
    return (_XMP % found[1]).encode() if found and found[1] in _SOURCE_TYPES else b""


def keeps_mark(manifest: bytes) -> bool:
    """Return whether a C2PA manifest may stay: without pictures and statements about people."""
    return len(manifest) <= _MARK_MAX and not any(sign in manifest for sign in _UNFIT_FOR_MARK)


def check_profile(profile: bytes) -> None:
    """Refuse a profile whose header contradicts its length, or that means several pictures.

    A profile with tables (A2B, D2B) can give each rendering intent other colours, and people see
    only one. CMYK has no other kind of profile. The tag cicp replaces the rest of the profile in
    some viewers (ICC.1:2022 9.2.17).
    """
    require(128 < len(profile) <= _PROFILE_MAX, "colour")
    require(int.from_bytes(profile[:4], "big") == len(profile), "colour")
    require(profile[36:40] == b"acsp", "colour")
    if profile[16:20] != b"CMYK":
        count = int.from_bytes(profile[128:132], "big")
        require(132 + 12 * count <= len(profile), "colour")
        names = {profile[at : at + 3] for at in range(132, 132 + 12 * count, 12)}
        require(not names & {b"A2B", b"D2B", b"cic"}, "colour")
