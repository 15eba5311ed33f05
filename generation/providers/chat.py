"""A vision-language model behind an OpenAI-compatible API: one picture in, one text out.

Formats: see ``generation.wire.chat``. A repeated call costs money but is otherwise harmless, so
every retryable failure is ProviderBusyError. The text is not parsed here: it is the model's, and
the model has read the picture.

A server that refuses a JSON schema is asked again for any JSON object, and then always so until the
process ends.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from generation.providers.base import (
    InvalidAnswerError,
    ProviderError,
    ProviderMisconfiguredError,
    ProviderRejectedError,
)
from generation.providers.http import Answer, Call, HttpProvider
from generation.wire import chat as wire
from generation.wire.nanogpt import data_url
from generation.wire.task import ErrorReply

log = logging.getLogger("loupe.providers")

# Codes of OpenAI-compatible services that mean account or settings, whatever their HTTP status:
# OpenAI has 429 for an empty balance, and 400 or 404 for an unknown model.
_SETTINGS_CODES = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "invalid_api_key",
        "account_deactivated",
        "model_not_found",
        "MODEL_NOT_FOUND",
        "ACCESS_DENY",
    }
)
MODELS_SHOWN = 5  # names of models in a message
# Tokens of a picture, for the estimated price of a call without an answer. Models differ widely.
IMAGE_TOKENS = 1500
CHARACTERS_PER_TOKEN = 4  # of English text, a common rule of thumb
_MILLION = Decimal(1_000_000)
_SMALLEST = Decimal("0.000001")  # USD, the precision of a stored cost
# (base URL, model) of servers that refused a schema in this process.
_without_schema: set[tuple[str, str]] = set()


class FormatRefusedError(ProviderRejectedError):
    """The server does not offer the requested form of the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A model's answer."""

    text: str
    model: str  # as the server names it; "" if it does not
    request_id: str
    response_format: str
    usage: wire.Usage
    cost: Decimal | None  # USD; None if neither the service nor the settings name a price


class ChatCompletions(HttpProvider):
    """The model ``model`` at ``base_url``. An empty ``api_key`` sends none.

    The prices are USD per million tokens; 0: unknown. Creates no connection until a call.
    """

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str,
        label: str,
        model: str,
        input_price: Decimal = Decimal(0),
        output_price: Decimal = Decimal(0),
    ) -> None:
        super().__init__(
            slug="vlm",
            label=label,
            base_url=base_url,
            secret=api_key,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
        )
        self.model = model
        self._prices = (input_price, output_price)

    def complete(
        self,
        *,
        system: str,
        content: bytes,
        media_type: str,
        schema: dict[str, Any],
        max_tokens: int,
    ) -> Completion:
        """Show the model one picture and return its answer. Raises ProviderError."""
        url = data_url(content, media_type)

        def request(schema: dict[str, Any] | None) -> Completion:
            body = wire.build_request(
                model=self.model,
                system=system,
                image_url=url,
                schema=schema,
                max_tokens=max_tokens,
            )
            answer = self.ask(wire.COMPLETIONS_PATH, body)
            return self._read(answer, body["response_format"]["type"])

        server = (self._base_url, self.model)
        if server in _without_schema:
            return request(None)
        try:
            return request(schema)
        except FormatRefusedError as error:
            completion = request(None)
            log.warning("%s gets no JSON schema from now on: %s", self.label, error)
            _without_schema.add(server)
            return completion

    def check(self) -> None:
        """Verify URL, key and model by reading the list of models, which is free.

        Raises ProviderError. A service whose list is public does not check the key.
        """
        answer = self.get(wire.MODELS_PATH, {})
        try:
            names = [entry.id for entry in wire.ModelList.model_validate(answer.json()).data]
        except ValueError:
            raise ProviderMisconfiguredError(
                f"The service at the URL of {self.label} in the settings does not list its models"
                " as an OpenAI-compatible service does."
            ) from None
        # Ollama adds a tag to a name without one.
        if self.model not in names and f"{self.model}:latest" not in names:
            listed = ", ".join(self._redact(name)[:80] for name in names[:MODELS_SHOWN])
            more = " and others" if len(names) > MODELS_SHOWN else ""
            raise ProviderMisconfiguredError(
                f"{self.label} does not list the model {self.model}."
                f" It lists {listed or 'none'}{more}."
            )

    def estimate_cost(self, *, system: str, answer_tokens: int) -> Decimal:
        """Return the price of a call by the length of prompt and answer, in USD; 0 if unknown."""
        prompt = len(system) // CHARACTERS_PER_TOKEN + IMAGE_TOKENS
        usage = wire.Usage(prompt_tokens=prompt, completion_tokens=answer_tokens)
        return self._compute_cost(usage) or Decimal(0)

    def _compute_cost(self, usage: wire.Usage) -> Decimal | None:
        """Return the cost that the service states, or the one by tokens; None if unknown."""
        if usage.cost is not None:
            return usage.cost.quantize(_SMALLEST)
        tokens = (usage.prompt_tokens, usage.completion_tokens)
        if tokens == (None, None) or not any(self._prices):
            return None
        spent = sum((count or 0) * price for count, price in zip(tokens, self._prices, strict=True))
        return (Decimal(spent) / _MILLION).quantize(_SMALLEST)

    def _read(self, answer: Answer, response_format: str) -> Completion:
        """Return the text of a response. Raises InvalidAnswerError."""
        reply = self.parse(answer, wire.ChatReply)
        choice, cost = reply.choices[0], self._compute_cost(reply.usage)
        if problem := self._find_problem(choice):
            raise InvalidAnswerError(f"{self.label} {problem}.", cost=cost, currency="USD")
        return Completion(
            text=self._redact(choice.message.content or ""),
            model=self._redact(reply.model)[:80],
            request_id=self._redact(reply.id)[:100],
            response_format=response_format,
            usage=reply.usage,
            cost=cost,
        )

    def _find_problem(self, choice: wire.Choice) -> str:
        """Return the reason why an answer cannot be used; "" if it can be parsed."""
        if choice.message.refusal:
            said = self._redact(" ".join(choice.message.refusal.split()))[:300].rstrip(".")
            return f"refused to judge the image. It said: {said}"
        if choice.finish_reason == "content_filter":
            return "withheld its answer, because its content filter stopped it"
        if choice.finish_reason == "length":
            return "broke off its answer at the maximum length"
        if not (choice.message.content or "").strip():
            return "gave an empty answer"
        return ""

    # --- Errors ---
    def _raise_for_status(self, answer: Answer, call: Call) -> None:
        """Raise for error responses; a refused form of the answer has its own error."""
        try:
            super()._raise_for_status(answer, call)
        except ProviderMisconfiguredError:
            raise
        except ProviderRejectedError as error:
            # The whole body, because some servers name the parameter beside the message only.
            if answer.status in (400, 422) and wire.is_about_format(answer.body.decode("latin-1")):
                raise FormatRefusedError(str(error), reason=error.reason) from None
            raise

    def _get_error_type(self, answer: Answer, reason: str, call: Call) -> type[ProviderError]:
        if answer.status < 500 and reason in _SETTINGS_CODES:
            return ProviderMisconfiguredError
        return super()._get_error_type(answer, reason, call)

    def _error_reply(self, answer: Answer) -> ErrorReply:
        """Convert the servers' error formats to the common one."""
        try:
            message, code = wire.read_error(answer.json())
        except ValueError:
            return ErrorReply()
        return ErrorReply(reason=self._redact(code)[:80], message=message)
