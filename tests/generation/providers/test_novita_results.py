"""Novita's documented errors, row by row, and its task results with the seeds in debug_info."""

from __future__ import annotations

import json
from typing import Any

import pytest

from generation.providers.base import (
    OutcomeUnknownError,
    ProviderBusyError,
    ProviderError,
    ProviderMisconfiguredError,
    ProviderRejectedError,
    TaskNotFoundError,
    TaskState,
)
from tests.generation.providers.test_novita import KEY, answering, poll, polled, submit_error

REFUSED, OURS, LATER, UNKNOWN = (
    ProviderRejectedError,
    ProviderMisconfiguredError,
    ProviderBusyError,
    OutcomeUnknownError,
)
# HTTP status, reason, error of a submission, error of a read.
TABLE = [
    (400, "INVALID_REQUEST_BODY", REFUSED, REFUSED),
    (400, "ILLEGAL_PROMPT", REFUSED, REFUSED),
    (400, "ILLEGAL_IMAGE_CONTENT", REFUSED, REFUSED),
    (400, "IMAGE_FILE_EXCEEDS_MAX_SIZE", REFUSED, REFUSED),
    (400, "INVALID_IMAGE_FORMAT", REFUSED, REFUSED),
    (400, "IMAGE_EXCEEDS_MAX_RESOLUTION", REFUSED, REFUSED),
    (400, "INVALID_IMAGE_SIZE", REFUSED, REFUSED),
    (400, "IMAGE_NO_FACE_DETECTED", REFUSED, REFUSED),
    (400, "INVALID_CUSTOM_OUTPUT_PATH", REFUSED, REFUSED),
    (400, "BILLING_BALANCE_NOT_ENOUGH", OURS, OURS),
    (403, "BILLING_BALANCE_NOT_ENOUGH", OURS, OURS),
    (400, "MISSING_API_KEY", OURS, OURS),
    (403, "INVALID_API_KEY", OURS, OURS),
    (403, "BILLING_AUTH_FAILED", OURS, OURS),
    (403, "FEATURE_NOT_ALLOWED", OURS, OURS),
    (403, "API_NOT_ALLOWED", OURS, OURS),
    (403, "NEED_REAL_NAME_VERIFY", OURS, OURS),
    (404, "API_NOT_FOUND", OURS, OURS),
    (404, "TASK_NOT_FOUND", REFUSED, TaskNotFoundError),
    (429, "RATE_LIMIT_EXCEEDED", LATER, LATER),
    (500, "BILLING_FAILED", UNKNOWN, LATER),
    (500, "CREATE_TASK_FAILED", UNKNOWN, LATER),
    (500, "GET_RESULT_FAILED", UNKNOWN, LATER),
    (500, "TASK_FAILED", UNKNOWN, LATER),
    (401, "FAILED_TO_AUTH", OURS, OURS),
    (403, "NOT_ENOUGH_BALANCE", OURS, OURS),
]


@pytest.mark.parametrize(("status", "reason", "submitting", "reading"), TABLE)
def test_documented_error_raises_its_own_error_with_a_message(
    status: int, reason: str, submitting: type[ProviderError], reading: type[ProviderError]
) -> None:
    handler = answering(
        status, {"code": status, "reason": reason, "message": f"about {KEY}.", "metadata": {}}
    )
    for caught, expected in ((submit_error(handler), submitting), (poll(handler), reading)):
        assert type(caught) is expected
        assert isinstance(caught, ProviderError)
        assert caught.reason == reason
        assert str(caught).startswith("Novita ")
        assert str(caught).endswith(f"It said: about [key] (HTTP {status} {reason}).")


def test_missing_route_is_reported_as_a_removed_endpoint() -> None:
    assert "the endpoint is gone" in str(
        submit_error(answering(404, {"message": "route not found"}))
    )


def test_url_signature_is_removed_from_an_error_message() -> None:
    said = "cannot read https://s3.test/a.png?X-Amz-Signature=abc123 now"
    caught = submit_error(answering(400, {"reason": "INVALID_IMAGE_FORMAT", "message": said}))
    assert "https://s3.test/a.png now" in str(caught)
    assert "abc123" not in str(caught)


# --- Results ---
def succeeded(request_info: Any, *images: Any) -> list[int | None]:
    info = request_info if isinstance(request_info, str) else json.dumps(request_info)
    body = {
        "task": {"task_id": "t", "status": "TASK_STATUS_SUCCEED"},
        "extra": {"seed": "7", "debug_info": {"request_info": info}},
        "images": list(images),
    }
    answer = poll(answering(200, body))
    assert not isinstance(answer, ProviderError)
    assert answer.seed == 7
    return [image.seed for image in answer.images]


def test_image_seeds_are_read_from_debug_info() -> None:
    assert succeeded({"seeds": [7, "8"]}, {"image_url": "a"}, {"image_url": "b"}) == [7, 8]


@pytest.mark.parametrize(
    "info", ["", "{", "[]", {"seeds": [1]}, {"seeds": None}, {"seeds": "12"}, {"seeds": [-1, 1.5]}]
)
def test_mismatched_seeds_are_none(info: Any) -> None:
    assert succeeded(info, {"image_url": "a"}, {"image_url": "b"}) == [None, None]


def test_progress_and_remaining_time_are_read() -> None:
    found = polled(status="TASK_STATUS_PROCESSING", progress_percent=41.9, eta=12.2)
    assert (found.state, found.progress, found.eta_seconds) == (TaskState.PROCESSING, 41, 13)


@pytest.mark.parametrize(
    "odd",
    [
        {"extra": {"debug_info": "soon", "seed": 5}},
        {"extra": []},
        {"videos": "none", "audios": 3},
        {"task": {"task_id": "t", "status": "TASK_STATUS_SUCCEED", "eta": "soon", "reason": {}}},
    ],
)
def test_image_is_read_despite_an_invalid_other_field(odd: dict[str, Any]) -> None:
    body = {
        "task": {"task_id": "t", "status": "TASK_STATUS_SUCCEED"},
        "images": [{"image_url": "u"}],
        **odd,
    }
    answer = poll(answering(200, body))
    assert not isinstance(answer, ProviderError)
    assert [image.url for image in answer.images] == ["u"]
    assert answer.raw == body


@pytest.mark.parametrize(
    "body",
    [
        {"task": {"task_id": "t"}},
        {"images": []},
        {"task": {"task_id": "t", "status": "x"}, "images": {"a": 1}},
    ],
)
def test_unreadable_result_raises_provider_busy_error_and_is_kept(body: dict[str, Any]) -> None:
    answer = poll(answering(200, body))
    assert isinstance(answer, ProviderBusyError)
    assert (answer.reason, answer.raw) == ("UNREADABLE_RESULT", body)


def test_response_without_json_is_kept_as_text() -> None:
    answer = poll(answering(200, b"<html>\0busy"))
    assert isinstance(answer, ProviderBusyError)
    assert answer.raw == {"text": "<html>busy"}


def test_undocumented_status_is_named_in_the_reason() -> None:
    found = polled(status="TASK_STATUS_CANCELED")
    assert (found.state, found.reason) == (TaskState.UNRECOGNISED, "TASK_STATUS_CANCELED")
