from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from generation.wire import nanogpt as wire


def test_request_has_one_field_in_its_body() -> None:
    assert wire.NsfwRequest(imageDataUrls=["data:image/png;base64,AA=="]).to_wire() == {
        "imageDataUrls": ["data:image/png;base64,AA=="]
    }


@pytest.mark.parametrize("field", wire.IMAGE_FIELDS)
@pytest.mark.parametrize("value", ["https://a.test/1.png", ["https://a.test/1.png"]])
def test_every_image_field_accepts_one_image_or_a_list(field: str, value: Any) -> None:
    assert wire.NsfwRequest.model_validate({field: value}).images == ["https://a.test/1.png"]


def test_images_of_several_fields_have_the_documented_order() -> None:
    request = wire.NsfwRequest.model_validate(
        {
            "imageDataUrls": ["e", "f"],
            "imageUrl": "c",
            "image_urls": ["a", "a"],
            "imageDataUrl": "d",
            "imageUrls": "b",
        }
    )
    assert request.images == ["a", "a", "b", "c", "d", "e", "f"]


def test_blank_entries_and_nulls_are_ignored() -> None:
    assert wire.NsfwRequest.model_validate({"image_urls": ["", " "], "imageUrl": None}).images == []


@pytest.mark.parametrize(
    "body", [{"image_urls": 5}, {"image_urls": [5]}, {"model": "other"}, [], "x", None]
)
def test_request_of_another_shape_is_refused(body: Any) -> None:
    with pytest.raises(ValidationError):
        wire.NsfwRequest.model_validate(body)


def test_reply_is_written_as_documented() -> None:
    reply = wire.NsfwReply.of([False, True], request_id="r", price=wire.IMAGE_PRICE)
    assert reply.to_wire() == {
        "model": "nsfw-classifier",
        "requestId": "r",
        "inputCount": 2,
        "cost": 0.003,
        "currency": "USD",
        "truncated": False,
        "has_nsfw_concepts": [False, True],
        "is_nsfw": True,
    }
    assert wire.NsfwReply.model_validate(reply.to_wire()) == reply


@pytest.mark.parametrize(
    "change",
    [
        {"has_nsfw_concepts": ["false", "true"]},
        {"has_nsfw_concepts": [0, 1]},
        {"has_nsfw_concepts": [None, True]},
        {"has_nsfw_concepts": None},
        {"has_nsfw_concepts": True},
        {"truncated": "no"},
        {"is_nsfw": 1},
        {"inputCount": "2"},
    ],
)
def test_reply_with_a_value_of_the_wrong_type_is_refused(change: dict[str, Any]) -> None:
    body = wire.NsfwReply.of([False, True], request_id="r", price=wire.IMAGE_PRICE).to_wire()
    with pytest.raises(ValidationError):
        wire.NsfwReply.model_validate(body | change)


@pytest.mark.parametrize("odd", ["free", float("inf"), float("nan"), {}, []])
def test_invalid_cost_is_none_and_keeps_the_verdicts(odd: Any) -> None:
    reply = wire.NsfwReply.model_validate(
        {"has_nsfw_concepts": [True], "cost": odd, "currency": 7, "requestId": {}}
    )
    assert (reply.cost, reply.currency, reply.requestId) == (None, None, None)
    assert reply.has_nsfw_concepts == [True]


@pytest.mark.parametrize(
    ("body", "read"),
    [
        ({"error": "Unauthorized"}, ("Unauthorized", "")),
        ({"error": {"message": "m", "type": "t", "code": "c"}}, ("m", "c")),
        ({"error": {"message": "m", "type": "t"}}, ("m", "t")),
        ({"error": 400, "message": "Unexpected error"}, ("Unexpected error", "")),
        ({"error": {"message": 5}}, ("", "")),
        ({"error": ["x"]}, ("", "")),
        ([], ("", "")),
        (None, ("", "")),
    ],
)
def test_error_is_read_in_every_documented_form(body: Any, read: tuple[str, str]) -> None:
    assert wire.read_error(body) == read


def test_errors_are_written_in_both_forms() -> None:
    plain = wire.ErrorReply(
        error="Insufficient balance", status=402, requiredBalance=Decimal("0.0035")
    )
    assert plain.to_wire() == {
        "error": "Insufficient balance",
        "status": 402,
        "requiredBalance": 0.0035,
    }
    detailed = wire.ErrorReply(error=wire.ErrorDetail(message="m", type="rate_limit_error"))
    assert detailed.to_wire() == {"error": {"message": "m", "type": "rate_limit_error"}}


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 1000])
def test_data_urls_round_trip_and_their_length_is_predicted(size: int) -> None:
    url = wire.data_url(b"x" * size, "image/webp")
    assert wire.from_data_url(url) == b"x" * size
    assert len(url) == wire.data_url_length(size, "image/webp")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "data:",
        "https://a.test/x",
        "data:text/html;base64,AA==",
        "data:image/png,AA",
        "data:image/png;base64,A",
        "data:image/png;base64,é",
        f"data:image/png;base64,{base64.b64encode(b'abc').decode()}!",
    ],
)
def test_broken_data_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base64"):
        wire.from_data_url(url)


@pytest.mark.parametrize(
    ("message", "code", "violates"),
    [
        ("No valid image URLs provided", "", False),
        ("Invalid JSON", "invalid_json", False),
        ("Unexpected error", "", False),
        ("Policy violation", "", True),
        ("Your image was rejected by the safety system", "", True),
        ("", "content_policy_violation", True),
    ],
)
def test_policy_violation_is_distinguished_from_a_bad_request(
    message: str, code: str, violates: bool
) -> None:
    assert wire.is_policy_violation(message, code) is violates
