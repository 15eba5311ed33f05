"""Generation parameters in image files: prompt and settings, no personal or location data.

Stable Diffusion front ends write them as PNG text, or as the EXIF UserComment of a JPEG or WebP.
Only known keys are kept, because the same chunks carry GPS positions, names and whole XMP packets.
"""

from __future__ import annotations

import re
from typing import Final

from PIL import Image

KEYS: Final = (
    "parameters",
    "prompt",
    "negative_prompt",
    "workflow",
    "generation_data",
    "invokeai_metadata",
    "sd-metadata",
    "Dream",
    "Software",
    "Title",
    "Description",
    "Comment",
    "Source",
)
MAX_VALUE: Final = 16 * 1024  # characters
MAX_TOTAL: Final = 64 * 1024

_EXIF_IFD: Final = 0x8769
_USER_COMMENT: Final = 0x9286
# Databases refuse NUL and lone surrogates; other control characters do not belong in a prompt.
_UNFIT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def read_metadata(image: Image.Image) -> dict[str, str]:
    """Return the known text fields of a loaded image, cleaned and limited in length."""
    notes = {key: image.info[key] for key in KEYS if isinstance(image.info.get(key), str)}
    if "parameters" not in notes and (comment := _read_user_comment(image)):
        notes["parameters"] = comment
    found: dict[str, str] = {}
    left = MAX_TOTAL
    for key, value in notes.items():
        text = _UNFIT.sub("", value)[: min(MAX_VALUE, left)].strip()
        if text:
            found[key] = text
            left -= len(text)
    return found


def _read_user_comment(image: Image.Image) -> str:
    try:
        comment = image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT)
    # Pillow's EXIF reader raises many exception types; a broken comment must not fail the image.
    except Exception:
        return ""
    if not isinstance(comment, bytes):
        return ""
    code, text = comment[:8], comment[8 : 8 + 4 * MAX_VALUE]
    if code == b"UNICODE\0":
        # The standard does not fix the byte order. Prompts are mostly ASCII, so zero bytes show it.
        little = text[1::2].count(0) > text[0::2].count(0)
        return text.decode("utf-16-le" if little else "utf-16-be", errors="ignore")
    return text.decode("utf-8", errors="ignore") if code in {b"ASCII\0\0\0", bytes(8)} else ""
