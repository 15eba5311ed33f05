from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from generation.wire.task import ErrorReply, ModelsReply, SubmitReply, TaskResultReply

TASK = {"task_id": "t", "status": "TASK_STATUS_SUCCEED"}


@pytest.mark.parametrize("images", [None, [], "absent"])
def test_missing_images_are_read_as_an_empty_list(images: Any) -> None:
    answer: dict[str, Any] = (
        {"task": TASK} if images == "absent" else {"task": TASK, "images": images}
    )
    assert TaskResultReply.model_validate(answer).images == []


@pytest.mark.parametrize(
    "detection", [None, {}, {"confidence": 4}, {"valid": "perhaps"}, [1], "no"]
)
def test_unreadable_detection_is_none(detection: Any) -> None:
    reply = TaskResultReply.model_validate(
        {"task": TASK, "images": [{"nsfw_detection_result": detection}]}
    )
    assert reply.images[0].nsfw_detection_result is None


def test_detection_without_confidence_keeps_its_valid_flag() -> None:
    reply = TaskResultReply.model_validate(
        {"task": TASK, "images": [{"nsfw_detection_result": {"valid": True}}]}
    )
    detection = reply.images[0].nsfw_detection_result
    assert detection is not None
    assert (detection.valid, detection.confidence) == (True, None)


def test_invalid_image_keeps_the_positions_of_the_others() -> None:
    reply = TaskResultReply.model_validate({"task": TASK, "images": [None, {"image_url": "u"}]})
    assert [image.image_url for image in reply.images] == ["", "u"]


def test_image_url_ttl_can_be_text_or_a_number() -> None:
    images = [{"image_url_ttl": "3600"}, {"image_url_ttl": 3600}]
    reply = TaskResultReply.model_validate({"task": TASK, "images": images})
    assert [image.image_url_ttl for image in reply.images] == ["3600", 3600]


def test_unknown_fields_and_statuses_are_accepted() -> None:
    answer = {
        "task": {"task_id": "t", "status": "TASK_STATUS_UNKNOWN"},
        "extra": {"has_nsfw_contents": []},
        "news": 1,
    }
    assert TaskResultReply.model_validate(answer).task.status == "TASK_STATUS_UNKNOWN"


def test_result_without_a_task_is_refused() -> None:
    with pytest.raises(ValidationError):
        TaskResultReply.model_validate({"images": []})


def test_written_result_has_every_documented_key_and_no_partial_debug_info() -> None:
    wire = TaskResultReply.model_validate({"task": TASK}).to_wire()
    assert set(wire) == {"extra", "task", "images", "videos", "audios"}
    assert "debug_info" not in wire["extra"]


@pytest.mark.parametrize(
    "answer",
    [
        {"task_id": "t"},
        {"task_id": "t", "more": 1},
        {"code": 0, "msg": "", "data": {"task_id": "t"}},
    ],
)
def test_both_envelopes_of_a_submission_reply_are_read(answer: dict[str, Any]) -> None:
    assert SubmitReply.read(answer).task_id == "t"


@pytest.mark.parametrize("answer", [None, [], "t", 3])
def test_submission_reply_that_is_no_object_is_refused(answer: Any) -> None:
    with pytest.raises(ValueError, match="SubmitReply"):
        SubmitReply.read(answer)


@pytest.mark.parametrize(
    "answer", [{}, {"code": "x", "reason": None, "message": ["?"], "metadata": 4}]
)
def test_invalid_error_body_is_read_as_an_empty_error(answer: dict[str, Any]) -> None:
    assert ErrorReply.model_validate(answer) == ErrorReply()


def test_unknown_model_type_is_read() -> None:
    row = {
        "id": 1,
        "sd_name": "a",
        "type": {"name": "locon", "display_name": "LoCon"},
        "tags": None,
    }
    assert ModelsReply.model_validate({"models": [row]}).models[0].type.name == "locon"
