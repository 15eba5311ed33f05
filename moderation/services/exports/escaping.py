"""Escape text against formulas in CSV, which a spreadsheet would run."""

from __future__ import annotations

import unicodedata

# Characters that a spreadsheet may take for the start of a formula or command (OWASP, "CSV
# Injection"; ASVS 5.0 1.2.10), at the start of a cell or after characters that it strips or hides.
TRIGGERS = frozenset("=+-@|%")
LINE_TRIGGERS = ("\t", "\r", "\n")
# The only trigger look-alike whose compatibility form (NFKC: full-width, small, superscript) is not
# ASCII.
MINUS = "\u2212"
# Invisible characters that Unicode classifies as letters or symbols: four Hangul fillers and a
# Braille pattern.
BLANKS = frozenset("\u115f\u1160\u3164\uffa0\u2800")


def escape_cell(text: str) -> str:
    """Return text that no spreadsheet takes for a formula, by prefixing an apostrophe if needed."""
    if text[:1].isalnum() and text[0] not in BLANKS and "\0" not in text:
        return text
    text = text.replace("\0", "")
    return (
        f"'{text}" if text.startswith(LINE_TRIGGERS) or _first_visible(text) in TRIGGERS else text
    )


def _first_visible(text: str) -> str:
    """Return the first visible character in its ASCII form.

    Controls, formats, separators, marks and blanks are invisible.
    """
    first = next(
        (one for one in text if one not in BLANKS and unicodedata.category(one)[0] not in "CZM"), ""
    )
    return unicodedata.normalize("NFKC", first).replace(MINUS, "-")[:1]
