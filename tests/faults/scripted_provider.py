"""A provider whose next answers a test chooses, and which remembers what it accepted and billed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.utils import timezone

from generation.fetching import Fetched, FetchError
from generation.providers.base import (
    OutcomeUnknownError,
    ProviderBusyError,
    ProviderError,
    ResultImage,
    Submission,
    TaskNotFoundError,
    TaskResult,
    TaskState,
)
from tests.conftest import picture

PICTURES = 8


@dataclass
class Accepted:
    """A task that the provider works on and bills."""

    seed: int
    images: int
    webhook_url: str


@dataclass
class Books:
    """The memory of the provider. Survives every crash of ours."""

    tasks: dict[str, Accepted] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)  # the next ones; none left: accept
    expired: bool = False  # whether image URLs have expired

    def count(self, seed: int) -> int:
        return sum(task.seed == seed for task in self.tasks.values())


BOOKS = Books()


class ScriptedProvider:
    """An image provider that answers as its books say."""

    def __init__(self, *, slug: str, label: str) -> None:
        self.slug, self.label = slug, label

    def submit(self, submission: Submission, *, on_answer: Callable[[str], None]) -> str:
        answer = BOOKS.answers.pop(0) if BOOKS.answers else "accept"
        if answer == "busy":
            raise ProviderBusyError("Too many calls.", reason="BUSY")
        task_id = f"task-{len(BOOKS.tasks) + 1}"
        fields = submission.fields
        BOOKS.tasks[task_id] = Accepted(
            int(fields["seed"]), int(fields["image_num"]), submission.webhook_url
        )
        if answer in ("lost", "500"):
            raise OutcomeUnknownError("The answer was lost.", reason=answer)
        on_answer(f'{{"task_id": "{task_id}"}}')
        return task_id

    async def poll(
        self, task_ids: Iterable[str]
    ) -> AsyncIterator[tuple[str, TaskResult | ProviderError]]:
        for task_id in task_ids:
            task = BOOKS.tasks.get(task_id)
            if task is None:
                yield task_id, TaskNotFoundError("There is no such task.")
                continue
            images = tuple(
                ResultImage(
                    position=position,
                    url=f"https://cdn.test/{(task.seed + position) % PICTURES}?sig=x",
                    expires_at=timezone.now() + timedelta(hours=1),
                    image_type="png",
                )
                for position in range(task.images)
            )
            yield (
                task_id,
                TaskResult(
                    task_id=task_id, state=TaskState.SUCCEEDED, seed=task.seed, images=images
                ),
            )


def fetch(url: str, **options: Any) -> Fetched:
    """Stand in for ``fetching.fetch``: the images of the scripted provider."""
    if BOOKS.expired:
        BOOKS.expired = False
        raise FetchError("The URL has expired.", expired=True)
    number = int(url.partition("?")[0].rpartition("/")[2])
    return Fetched(picture(number), "image/png", url.partition("?")[0])
