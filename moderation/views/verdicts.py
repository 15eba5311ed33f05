"""A verdict as a page sends it. Only what it says is read here; whether it may be given is the
services' business.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from uuid import UUID

from django.http import QueryDict

from moderation.forms.decisions import NOTE_MAX
from moderation.models import Verdict
from moderation.services import decisions

SECONDS_END = 10**6  # what the record's column holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    verdict: Verdict
    categories: list[str]
    note: str
    seconds: Decimal | None  # on screen, as the script measured it
    name: (
        UUID | None
    )  # the decision's own, made by the script so that sending it twice decides once


def read(data: QueryDict, *, wants_reason: bool = True) -> Given:
    """``wants_reason``: whether an escalation has to say why, already. Raises desk.Incomplete."""
    verdict, note = data.get("verdict", ""), data.get("note", "").strip()
    if verdict not in decisions.VERDICTS:
        raise decisions.InvalidDecisionError("Choose approve, reject or escalate.")
    if len(note) > NOTE_MAX:
        raise decisions.InvalidDecisionError(
            f"A note has at most {NOTE_MAX} characters. This one has {len(note)}."
        )
    if "\0" in note:
        raise decisions.InvalidDecisionError("The note holds a character that is no text.")
    if verdict == Verdict.ESCALATE and wants_reason and not note:
        raise decisions.InvalidDecisionError("Say why a senior moderator should look at it.")
    return Given(
        verdict=Verdict(verdict),
        categories=data.getlist("categories"),
        note=note,
        seconds=_seconds(data.get("seconds", "")),
        name=_name(data.get("decision", "")),
    )


def _seconds(text: str) -> Decimal | None:
    """Only a hint, so a wrong one is dropped rather than refused."""
    try:
        seconds = Decimal(text)
    except InvalidOperation:
        return None
    return round(seconds, 1) if seconds.is_finite() and 0 <= seconds < SECONDS_END else None


def _name(text: str) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        raise decisions.InvalidDecisionError("The decision's name is no UUID.") from None
