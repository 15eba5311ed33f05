from __future__ import annotations

import uuid
from typing import Any

import pytest
from pydantic import ValidationError

from generation.forms.request_form import FIELDS, RequestForm
from generation.wire import txt2img as wire

PROMPT_MAX = 1024
RANGED = {
    name: wire.RANGES["request", name]
    for name in ("width", "height", "image_num", "steps", "guidance_scale", "seed")
}


def sent(**fields: Any) -> dict[str, Any]:
    """Return the form data of a valid request."""
    return {
        "form_token": str(uuid.uuid4()),
        "provider": "novita-sandbox",
        "model_name": "alder.safetensors",
        "prompt": "a quiet harbour",
        "negative_prompt": "",
        "width": "512",
        "height": "512",
        "image_num": "2",
        "steps": "20",
        "guidance_scale": "7.5",
        "sampler_name": "Euler a",
        "seed": "",
        "response_image_type": "png",
        "enable_nsfw_detection": "on",
        "nsfw_detection_level": "2",
        **fields,
    }


def errors(**fields: Any) -> dict[str, list[str]]:
    return dict(RequestForm(sent(**fields)).errors)


def wire_accepts(**fields: Any) -> bool:
    request = {
        "model_name": "m",
        "prompt": "p",
        "width": 512,
        "height": 512,
        "image_num": 1,
        "steps": 20,
        "guidance_scale": 7.5,
        "sampler_name": "Euler a",
    }
    try:
        wire.Txt2ImgBody.model_validate({"request": {**request, **fields}})
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("name", RANGED)
def test_form_and_wire_have_the_same_limits(name: str) -> None:
    low, high = (int(end) for end in RANGED[name])
    for value in (low - 1, low, high, high + 1):
        assert (
            (name not in errors(**{name: str(value)}))
            is wire_accepts(**{name: value})
            is (low <= value <= high)
        )


@pytest.mark.parametrize("name", [name for name in RANGED if name != "seed"])
def test_help_text_and_error_message_contain_the_range(name: str) -> None:
    low, high = RANGED[name]
    field = RequestForm().fields[name]

    (message,) = errors(**{name: str(high + 1)})[name]

    assert f"{low} to {high}" in field.help_text
    assert str(field.label) in message
    assert f"{low} to {high}" in message


@pytest.mark.parametrize("value", ["", "much", "7.x", "NaN", "Infinity", "9" * 5000])
@pytest.mark.parametrize("name", [name for name in RANGED if name != "seed"])
def test_invalid_number_is_refused_with_the_range(name: str, value: str) -> None:
    low, high = RANGED[name]

    assert f"{low} to {high}" in errors(**{name: value})[name][0]


@pytest.mark.parametrize("length", [0, 1, PROMPT_MAX, PROMPT_MAX + 1])
def test_prompts_have_the_documented_length(length: int) -> None:
    allowed = 1 <= length <= PROMPT_MAX

    assert ("prompt" not in errors(prompt="x" * length)) is allowed
    assert ("negative_prompt" not in errors(negative_prompt="x" * length)) is (
        allowed or length == 0
    )


def test_line_break_counts_as_one_character() -> None:
    text = "x" * (PROMPT_MAX - 2) + "\r\ny"

    form = RequestForm(sent(prompt=text))

    assert form.is_valid()
    assert len(form.cleaned_data["prompt"]) == PROMPT_MAX


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sampler_name", "Euler b"),
        ("response_image_type", "gif"),
        ("nsfw_detection_level", "3"),
        ("provider", "elsewhere"),
        ("model_name", ""),
        ("model_name", "x" * 256),
        ("form_token", "1"),
        ("prompt", "a\0b"),
    ],
)
def test_unknown_choices_are_refused(name: str, value: str) -> None:
    assert list(errors(**{name: value})) == [name]


def test_valid_form_returns_the_fields_of_the_service() -> None:
    form = RequestForm(sent(seed="-1", guidance_scale="7.25"))

    assert form.is_valid()
    assert tuple(form.request_fields) == FIELDS
    assert form.request_fields["seed"] == -1
    assert form.request_fields["guidance_scale"] == 7.25
    assert form.request_fields["nsfw_detection_level"] == 2


def test_detection_level_is_the_default_without_detection() -> None:
    data = sent()
    del data["enable_nsfw_detection"]
    form = RequestForm(data)

    assert form.is_valid()
    assert form.request_fields["nsfw_detection_level"] == wire.NSFW_LEVEL_DEFAULT


def test_wire_validation_refuses_what_the_form_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    form = RequestForm(sent(width="2048"))
    monkeypatch.setattr(form.fields["width"], "to_python", lambda value: 4096)
    monkeypatch.setattr(form.fields["width"], "validators", [])

    assert not form.is_valid()
    assert form.errors["width"] == ["Width must be from 128 to 2048."]


def test_every_detection_level_has_a_label() -> None:
    assert tuple(wire.NSFW_LEVEL_LABELS) == wire.NSFW_LEVELS
