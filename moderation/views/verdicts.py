"""Parsing of a verdict that a page sends; the services decide whether it is permitted."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TypedDict
from uuid import UUID

from django.http import QueryDict

from moderation.forms.decisions import NOTE_MAX
from moderation.models import Verdict
from moderation.services import decisions

BLUR = "blur"  # what a page sends to approve an image that is to be delivered blurred
NAMES = {
    **{value: str(label) for value, label in Verdict.choices if value in decisions.VERDICTS},
    BLUR: "Approve blurred",
}
SECONDS_END = 10**6  # beyond the range of the record's column


class ParsedVerdict(TypedDict):
    verdict: Verdict
    is_blurred: bool
    categories: list[str]
    note: str
    seconds: Decimal | None  # on screen, measured by the script
    # The client's name for the decision, so that a decision sent twice is recorded once.
    uuid: UUID | None


def parse_verdict(data: QueryDict, *, wants_reason: bool = True) -> ParsedVerdict:
    """Return the verdict in a form's data. ``wants_reason``: an escalation needs a note.

    Raises: InvalidDecisionError.
    """
    verdict, note = data.get("verdict", ""), parse_note(data)
    is_blurred = verdict == BLUR
    if is_blurred:
        verdict = Verdict.APPROVE
    if verdict not in decisions.VERDICTS:
        raise decisions.InvalidDecisionError("Choose approve, reject or escalate.")
    if verdict == Verdict.ESCALATE and wants_reason and not note:
        raise decisions.InvalidDecisionError("Give a reason for the senior moderator.")
    return {
        "verdict": Verdict(verdict),
        "is_blurred": is_blurred,
        "categories": data.getlist("categories"),
        "note": note,
        "seconds": _parse_seconds(data.get("seconds", "")),
        "uuid": _parse_uuid(data.get("decision", "")),
    }


def parse_note(data: QueryDict) -> str:
    """Return the note of a verdict or a reversal. Raises: InvalidDecisionError."""
    note = data.get("note", "").strip()
    if len(note) > NOTE_MAX:
        raise decisions.InvalidDecisionError(
            f"A note has at most {NOTE_MAX} characters. This one has {len(note)}."
        )
    if "\0" in note:
        raise decisions.InvalidDecisionError("The note contains an invalid character.")
    return note


def _parse_seconds(text: str) -> Decimal | None:
    """Return the seconds on screen. They are a hint, so an invalid number is dropped."""
    try:
        seconds = Decimal(text)
    except InvalidOperation:
        return None
    return round(seconds, 1) if seconds.is_finite() and 0 <= seconds < SECONDS_END else None


def _parse_uuid(text: str) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        raise decisions.InvalidDecisionError("The decision's id is not a UUID.") from None
