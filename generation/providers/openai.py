"""OpenAI's moderation endpoint: one image in, a score for each category out.

The endpoint is free, and a repeated call is harmless, so every retryable failure is
ProviderBusyError. An image is sent as a data URL, never as a URL of ours.
"""

from __future__ import annotations

from generation.providers.base import InvalidAnswerError
from generation.providers.http import Answer, HttpProvider
from generation.wire import openai as wire
from generation.wire.task import ErrorReply

PATH = "/moderations"
CHECK_TEXT = "A harbour at dawn."


class OpenAI(HttpProvider):
    """OpenAI, or a service with the wire format of its moderation at ``base_url`` (with /v1)."""

    def __init__(self, *, api_key: str, base_url: str, label: str) -> None:
        super().__init__(
            slug="openai",
            label=label,
            base_url=base_url,
            secret=api_key,
            headers={"Authorization": f"Bearer {api_key}"},
        )

    def moderate(self, content: bytes, media_type: str) -> wire.ModerationReply:
        """Judge one image; the reply has one result.

        Raises ProviderError; besides the errors of ``base`` these are those of ``ask`` and
        InvalidAnswerError.
        """
        parts: list[wire.ImagePart | wire.TextPart] = [wire.ImagePart.of(content, media_type)]
        return self._read(self.ask(PATH, wire.ModerationRequest(input=parts).to_wire()))

    def check(self) -> None:
        """Verify URL, key and permission with a short text, which is free.

        Raises ProviderError.
        """
        self._read(self.ask(PATH, wire.ModerationRequest(input=CHECK_TEXT).to_wire()))

    def _read(self, answer: Answer) -> wire.ModerationReply:
        reply = self.parse(answer, wire.ModerationReply)
        if len(reply.results) != 1:
            raise InvalidAnswerError(
                f"{self.label} answered with {len(reply.results)} results, although one image was"
                " sent."
            )
        return reply

    def _error_reply(self, answer: Answer) -> ErrorReply:
        """Convert OpenAI's error format to the common one."""
        try:
            message, code = wire.read_error(answer.json())
        except ValueError:
            return ErrorReply()
        return ErrorReply(reason=self._redact(code)[:80], message=message)
