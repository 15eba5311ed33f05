"""The contract of every image provider, tested against its sandbox over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from generation.providers.base import (
    ImageProvider,
    OutcomeUnknownError,
    ProviderBusyError,
    ProviderError,
    ProviderMisconfiguredError,
    ProviderRejectedError,
    Submission,
    TaskNotFoundError,
    TaskResult,
    TaskState,
)
from generation.providers.novita.client import Novita
from tests.generation.providers.factories import make_submission

pytestmark = pytest.mark.django_db(transaction=True)


def novita(server: str, api_key: str = "sandbox-key") -> ImageProvider:
    return Novita(
        slug="novita-sandbox",
        api_key=api_key,
        base_url=f"{server}/sandbox/novita",
        label="Novita (sandbox)",
    )


PROVIDERS: list[Callable[..., ImageProvider]] = [novita]


@pytest.fixture(params=PROVIDERS)
def make(
    request: pytest.FixtureRequest, live_server: Any, settings: Any
) -> Callable[..., ImageProvider]:
    settings.SANDBOX_LATENCY = 0
    return lambda **options: request.param(live_server.url, **options)


@pytest.fixture
def provider(make: Callable[..., ImageProvider]) -> ImageProvider:
    return make()


def submission(prompt: str = "misty mountains", **fields: Any) -> Submission:
    return make_submission(**{"prompt": prompt, "width": 128, "height": 128, "seed": 9} | fields)


def submit(provider: ImageProvider, prompt: str = "misty mountains", **fields: Any) -> str:
    return provider.submit(submission(prompt, **fields), on_answer=lambda raw: None)


def poll(provider: ImageProvider, *task_ids: str) -> dict[str, TaskResult | ProviderError]:
    async def collect() -> dict[str, TaskResult | ProviderError]:
        return {task_id: answer async for task_id, answer in provider.poll(task_ids)}

    return asyncio.run(collect())


def result(provider: ImageProvider, task_id: str) -> TaskResult:
    answer = poll(provider, task_id)[task_id]
    assert isinstance(answer, TaskResult), answer
    return answer


def test_submission_becomes_a_task_with_the_requested_number_of_images(
    provider: ImageProvider,
) -> None:
    found = result(provider, submit(provider, image_num=3, response_image_type="webp"))
    assert (found.state, found.progress, found.reason) == (TaskState.SUCCEEDED, 0, "")
    assert [image.position for image in found.images] == [0, 1, 2]
    assert all(
        image.url.startswith("http") and image.image_type == "webp" for image in found.images
    )
    assert all(timezone.now() < image.expires_at for image in found.images)
    assert found.raw["task"]["task_id"] == found.task_id


def test_raw_response_is_passed_to_the_callback_before_parsing(provider: ImageProvider) -> None:
    seen: list[str] = []
    task_id = provider.submit(submission(), on_answer=seen.append)
    assert len(seen) == 1
    assert task_id in seen[0]


def test_seed_and_negative_prompt_reach_the_provider(provider: ImageProvider) -> None:
    found = result(provider, submit(provider, seed=123456, negative_prompt="blurry"))
    assert found.raw["extra"]["seed"] == "123456"
    assert "blurry" in found.raw["extra"]["debug_info"]["request_info"]


def test_poll_returns_one_result_for_each_of_several_tasks(
    provider: ImageProvider,
) -> None:
    good, bad = submit(provider), submit(provider, "hills sandbox:fail")
    unknown = "8b2e3f7c-0000-4000-8000-000000000000"
    answers = poll(provider, good, unknown, bad, good)
    assert len(answers) == 3
    assert isinstance(answers[unknown], TaskNotFoundError)
    finished, failed = answers[good], answers[bad]
    assert isinstance(finished, TaskResult)
    assert isinstance(failed, TaskResult)
    assert (finished.state, failed.state) == (TaskState.SUCCEEDED, TaskState.FAILED)
    assert failed.reason


def test_poll_without_tasks_returns_nothing(provider: ImageProvider) -> None:
    assert poll(provider) == {}


def test_running_task_reports_state_and_remaining_time(
    provider: ImageProvider, settings: Any
) -> None:
    settings.SANDBOX_LATENCY = 600
    found = result(provider, submit(provider))
    assert found.state is TaskState.PROCESSING
    assert found.eta_seconds
    assert 0 < found.eta_seconds <= 720
    assert found.images == ()


def test_detection_is_returned_only_when_requested(provider: ImageProvider) -> None:
    silent = result(provider, submit(provider))
    assert silent.images[0].detection is None
    asked = {"enable_nsfw_detection": True, "nsfw_detection_level": 2}
    found = (
        result(provider, submit(provider, "hills sandbox:explicit.nudity@81", **asked))
        .images[0]
        .detection
    )
    assert found is not None
    assert (found.valid, found.confidence) == (True, 81)
    invalid = (
        result(provider, submit(provider, "hills sandbox:invalid-detection", **asked))
        .images[0]
        .detection
    )
    assert invalid is not None
    assert not invalid.valid


def test_expiry_of_an_image_url_is_read_from_its_signature(provider: ImageProvider) -> None:
    found = result(provider, submit(provider, "hills sandbox:expired"))
    assert found.images[0].expires_at < timezone.now()


@pytest.mark.parametrize(
    ("prompt", "error"),
    [
        ("hills sandbox:busy", ProviderBusyError),
        ("hills sandbox:lost", OutcomeUnknownError),
        ("hills sandbox:reject", ProviderRejectedError),
        ("hills sandbox:broke", ProviderMisconfiguredError),
    ],
)
def test_each_refusal_raises_its_own_error(
    provider: ImageProvider, prompt: str, error: type[ProviderError]
) -> None:
    with pytest.raises(ProviderError) as caught:
        submit(provider, prompt)
    assert type(caught.value) is error
    assert str(caught.value).endswith(".")


def test_busy_provider_accepts_the_same_request_later(provider: ImageProvider) -> None:
    for _ in range(2):
        with pytest.raises(ProviderBusyError):
            submit(provider, "hills sandbox:busy")
    assert submit(provider, "hills sandbox:busy")


def test_value_out_of_range_is_refused_before_sending(provider: ImageProvider) -> None:
    seen: list[str] = []
    with pytest.raises(ProviderRejectedError, match="width must be from 128 to 2048") as caught:
        provider.submit(submission(width=64), on_answer=seen.append)
    assert not isinstance(caught.value, ProviderMisconfiguredError)
    assert seen == []


@pytest.mark.parametrize("api_key", ["", "invalid"])
def test_wrong_api_key_raises_provider_misconfigured_error(
    make: Callable[..., ImageProvider], api_key: str
) -> None:
    provider = make(api_key=api_key)
    with pytest.raises(ProviderMisconfiguredError):
        submit(provider)
    with pytest.raises(ProviderMisconfiguredError):
        provider.list_models()
    assert isinstance(poll(provider, "x")["x"], ProviderMisconfiguredError)


def test_models_are_paginated_and_searched(provider: ImageProvider) -> None:
    first = provider.list_models(limit=10)
    second = provider.list_models(limit=10, cursor=first.next_cursor)
    assert len(first.models) == len(second.models) == 10
    assert not {model.name for model in first.models} & {model.name for model in second.models}
    assert [model.title for model in provider.list_models(query="papercut").models] == [
        "Papercut v3"
    ]
    assert provider.list_models().next_cursor == ""
