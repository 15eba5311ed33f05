"""Hasher-Matcher-Actioner (HMA): a perceptual hash in, the banks that have it out.

Only the hash is sent, never the image. A look-up changes nothing, so every retryable failure is
ProviderBusyError. An HMA server has no authentication of its own; a key, if the server in front of
it wants one, is a Bearer token.
"""

from __future__ import annotations

from generation.providers.base import (
    InvalidAnswerError,
    ProviderBusyError,
    ProviderError,
    ProviderMisconfiguredError,
    TaskNotFoundError,
)
from generation.providers.http import Answer, Call, HttpProvider
from generation.wire import hma as wire
from generation.wire.task import ErrorReply


class Hma(HttpProvider):
    """An HMA server at ``base_url`` (without /m)."""

    def __init__(self, *, api_key: str, base_url: str, label: str) -> None:
        super().__init__(
            slug="hma",
            label=label,
            base_url=base_url,
            secret=api_key,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
        )

    def look_up(self, pdq: bytes) -> list[wire.BankMatch]:
        """Return the contents that match a PDQ hash.

        The server's operator may enable a bank for a share of the look-ups. The seed makes the same
        hash always fall on the same side. Raises ProviderError and InvalidAnswerError.
        """
        signal = pdq.hex()
        answer = self.get(
            wire.LOOKUP_PATH, {"signal_type": wire.PDQ, "signal": signal, "seed": signal}
        )
        try:
            return wire.read_reply(answer.json())
        except ValueError:
            raise InvalidAnswerError(
                f"{self.label} answered, but not in a way that can be read."
            ) from None

    def check(self) -> None:
        """Verify URL and key, and that the server has an index of PDQ hashes.

        Raises ProviderError.
        """
        answer = self.get(wire.STATUS_PATH, {"signal_type": wire.PDQ})
        try:
            status = wire.read_statuses(answer.json()).get(wire.PDQ)
        except ValueError:
            raise ProviderMisconfiguredError(
                f"The service at the URL of {self.label} in the settings does not answer like"
                " Hasher-Matcher-Actioner."
            ) from None
        if status is None or not status.present:
            raise ProviderBusyError(f"{self.label} has built no index of PDQ hashes yet.")

    def _get_error_type(self, answer: Answer, reason: str, call: Call) -> type[ProviderError]:
        kind = super()._get_error_type(answer, reason, call)
        # There are no tasks: the URL is wrong.
        return ProviderMisconfiguredError if kind is TaskNotFoundError else kind

    def _error_reply(self, answer: Answer) -> ErrorReply:
        """Convert HMA's error format to the common one."""
        try:
            return ErrorReply(message=wire.read_error(answer.json()))
        except ValueError:
            return ErrorReply()
