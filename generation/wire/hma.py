"""Look-ups at a Hasher-Matcher-Actioner server (HMA): reply and error.

Used by the client and the sandbox. Sources, read November 2026 in
https://github.com/facebook/ThreatExchange/tree/main/hasher-matcher-actioner: docs/api.md,
src/OpenMediaMatch/blueprints/matching.py and utils/flask_utils.py.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, RootModel, StrictInt, StrictStr, TypeAdapter

LOOKUP_PATH = "/m/lookup"
STATUS_PATH = "/m/index/status"
PDQ = "pdq"  # the signal type
MATCHES_MAX = 10_000  # of one reply
BankName = Annotated[StrictStr, Field(min_length=1, max_length=255)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class ContentMatch(_Wire):
    """A content of a bank. The distance is a text, such as "12"."""

    bank_content_id: StrictInt
    distance: Annotated[StrictStr | StrictInt | None, Field(union_mode="left_to_right")] = None


class BankMatch(_Wire):
    """A match in a bank; older servers name only the bank."""

    bank: str
    content_id: int | None = None
    distance: str = ""


class _Reply(RootModel[dict[BankName, list[ContentMatch]] | list[BankName]]):
    """Matches by bank; from older servers, the names of the banks."""


class IndexStatus(_Wire):
    """The state of the index of one signal type."""

    present: bool
    size: int = 0


_STATUSES = TypeAdapter(dict[str, IndexStatus])


def read_reply(body: object) -> list[BankMatch]:
    """Return the matches of a look-up. Raises ValueError for any other body."""
    found = _Reply.model_validate(body).root
    if isinstance(found, list):
        return [BankMatch(bank=name) for name in found]
    matches = [
        BankMatch(
            bank=bank,
            content_id=match.bank_content_id,
            distance="" if match.distance is None else str(match.distance)[:40],
        )
        for bank, contents in found.items()
        for match in contents
    ]
    if len(matches) > MATCHES_MAX:
        raise ValueError("The reply has too many matches.")
    return matches


def read_statuses(body: object) -> dict[str, IndexStatus]:
    """Return the state of each index. Raises ValueError."""
    return _STATUSES.validate_python(body)


def read_error(body: object) -> str:
    """Return the message of an error body; "" for an unknown form."""
    message = body.get("message") if isinstance(body, dict) else None
    return message if isinstance(message, str) else ""
