"""Amazon Rekognition's image moderation: one image in, labels of three levels out.

The request is signed with the standard library, because AWS's own client needs 15 MB of packages.
A repeated call costs money but is otherwise harmless, so every retryable failure is
ProviderBusyError. Images are sent as bytes, never as objects in S3.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from generation.providers.base import (
    InvalidAnswerError,
    ProviderMisconfiguredError,
    ProviderRejectedError,
)
from generation.providers.http import KEY_MIN, Answer, HttpProvider
from generation.wire import rekognition as wire
from generation.wire.sigv4 import Credentials, sign
from generation.wire.task import ErrorReply

PATH = "/"
# The check sends it instead of an image: the refusal needs valid credentials and permission, and
# costs nothing.
NO_IMAGE = b"This is not an image."
NO_IMAGE_REASON = "InvalidImageFormatException"


class Rekognition(HttpProvider):
    """Rekognition in one region, or a service with its wire format at ``base_url``."""

    def __init__(
        self,
        *,
        access_key_id: str,
        secret_access_key: str,
        session_token: str,
        region: str,
        base_url: str,
        label: str,
    ) -> None:
        super().__init__(
            slug="rekognition", label=label, base_url=base_url, secret=secret_access_key, headers={}
        )
        self._region = region
        self._credentials = Credentials(
            access_key_id=access_key_id,
            secret_access_key=secret_access_key,
            session_token=session_token,
        )

    def detect(self, content: bytes) -> wire.ModerationReply:
        """Detect the moderation labels of a JPEG or PNG.

        Raises ProviderError; besides the errors of ``base`` these are those of ``ask`` and
        InvalidAnswerError.
        """
        answer = self._call(content)
        reply = self.parse(answer, wire.ModerationReply)
        if any(label.Confidence < wire.CONFIDENCE_MIN for label in reply.ModerationLabels):
            raise InvalidAnswerError(
                f"{self.label} answered with a confidence below {wire.CONFIDENCE_MIN:.0f}, which"
                " was the lowest that it was asked for."
            )
        return reply

    def check(self) -> None:
        """Verify URL, credentials and permission with a call that costs nothing.

        Raises ProviderError.
        """
        try:
            self._call(NO_IMAGE)
        except ProviderMisconfiguredError:
            raise
        except ProviderRejectedError as error:
            if error.reason != NO_IMAGE_REASON:
                raise
            return
        raise ProviderMisconfiguredError(
            f"The service at the URL of {self.label} in the settings does not answer like"
            f" {self.label}."
        )

    def _call(self, content: bytes) -> Answer:
        body = json.dumps(wire.ModerationRequest.of(content).to_wire()).encode()
        headers = sign(
            self._credentials,
            method="POST",
            url=self._base_url + PATH,
            headers={"Content-Type": wire.CONTENT_TYPE, "X-Amz-Target": wire.TARGET},
            body=body,
            region=self._region,
            service=wire.SERVICE,
            now=datetime.now(UTC),
        )
        return self.ask(PATH, content=body, headers=headers)

    def _error_reply(self, answer: Answer) -> ErrorReply:
        """Convert AWS's error format to the common one."""
        try:
            message, code = wire.read_error(answer.json())
        except ValueError:
            message, code = "", ""
        code = code or answer.headers.get("x-amzn-errortype", "").partition(":")[0]
        return ErrorReply(reason=self._redact(code)[:80], message=message)

    def _redact(self, text: str) -> str:
        token = self._credentials.session_token
        text = text.replace(token, "[token]") if len(token) >= KEY_MIN else text
        return super()._redact(text)
