"""OpenAI-compatible chat completions with one picture: request, reply, error.

Used by the client and the sandbox. Sources, read November 2026:
https://platform.openai.com/docs/api-reference/chat (the format),
https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html,
https://docs.ollama.com/api/openai-compatibility,
https://novita.ai/docs/guides/error and https://docs.nano-gpt.com/api-reference (errors).
The servers agree on the reply and differ in their errors, so errors are read in every known form.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

COMPLETIONS_PATH = "/chat/completions"
MODELS_PATH = "/models"
SCHEMA_FORMAT, OBJECT_FORMAT = "json_schema", "json_object"
TOKENS_MAX = 100_000_000  # a higher count is a misread reply
COST_MAX = Decimal(9999)  # USD of one call; a higher value is a misread reply


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())

    def to_wire(self) -> dict[str, Any]:
        """Return JSON without absent values."""
        return self.model_dump(mode="json", exclude_none=True)


class Usage(_Wire):
    """Tokens of a call. ``cost`` is USD and exists at services such as OpenRouter only.

    The result does not depend on it, so an unreadable value is absent.
    """

    prompt_tokens: StrictInt | None = Field(default=None, ge=0, le=TOKENS_MAX)
    completion_tokens: StrictInt | None = Field(default=None, ge=0, le=TOKENS_MAX)
    cost: Decimal | None = Field(default=None, ge=0, le=COST_MAX)

    @field_validator("*", mode="wrap")
    @classmethod
    def _unreadable_is_absent(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValueError:
            return None


class Message(_Wire):
    """The text of a reply: ``refusal`` replaces ``content`` if the model declined to answer."""

    role: str = "assistant"
    content: str | None = None
    refusal: str | None = None


class Choice(_Wire):
    message: Message
    finish_reason: str | None = None  # stop, length, content_filter, or a server's own word


class ChatReply(_Wire):
    """A successful reply."""

    id: str = ""
    model: str = ""
    choices: list[Choice] = Field(min_length=1, max_length=1)
    usage: Usage = Usage()

    @field_validator("id", "model", "usage", mode="wrap")
    @classmethod
    def _unreadable_is_absent(
        cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        """Replace an unreadable value by its default, because the answer does not depend on it."""
        try:
            return handler(value)
        except ValueError:
            return cls.model_fields[str(info.field_name)].get_default()


class ModelEntry(_Wire):
    id: str


class ModelList(_Wire):
    """The reply to ``GET /models``."""

    data: list[ModelEntry]


def build_request(
    *, model: str, system: str, image_url: str, schema: dict[str, Any] | None, max_tokens: int
) -> dict[str, Any]:
    """Build the body of a call. Without ``schema`` it asks for any JSON object."""
    response_format: dict[str, Any] = {"type": OBJECT_FORMAT}
    if schema is not None:
        response_format = {
            "type": SCHEMA_FORMAT,
            "json_schema": {"name": "answer", "strict": True, "schema": schema},
        }
    return {
        "model": model,
        "messages": [
            {"role": "system", "content": system},
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": image_url, "detail": "high"}}
                ],
            },
        ],
        "temperature": 0,
        "max_tokens": max_tokens,
        "response_format": response_format,
    }


def read_error(body: object) -> tuple[str, str]:
    """Return the message and the code of an error body; empty strings for an unknown form.

    OpenAI, Ollama, llama.cpp and nano-gpt put an object or a string under ``error``; older vLLM and
    Novita put message and code at the top; FastAPI has only ``detail``.
    """
    if not isinstance(body, dict):
        return "", ""
    error = body.get("error")
    source = error if isinstance(error, dict) else body
    message = _first_text(source, "message", "msg", "detail")
    if isinstance(error, str):
        message = error
    # ``code`` is the HTTP status again at some servers, and ``type`` then names the error.
    return message, _first_text(source, "reason", "code", "type")


def is_about_format(message: str) -> bool:
    """Return whether a refusal is about the requested form of the answer."""
    lowered = message.lower()
    return "response_format" in lowered or "json_schema" in lowered


def _first_text(source: dict[Any, Any], *names: str) -> str:
    return next(
        (value for name in names if isinstance(value := source.get(name), str) and value), ""
    )
