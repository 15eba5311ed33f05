"""Classification by the local classifiers, compared with the raw networks in the same run.

Two processes judge renditions of 1024 × 1024 pixels, as two workers do. The raw networks get the
inputs that the classifiers gave them, so the ratio is the share of the networks in the whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from bench.picture_bytes import make_photo
from bench.side_by_side import cycle, measure_rate
from generation import imaging
from moderation import classifiers
from moderation.classifiers import encoders
from moderation.classifiers.picture import Picture

IMAGES = int(os.environ.get("BENCH_IMAGES", "120"))  # per process
DIFFERENT = 6
Run = tuple[Any, dict[str, Any]]  # ONNX session, inputs


def main(out: str) -> None:
    contents = [imaging.render(make_photo(number)).content for number in range(DIFFERENT)]
    figures = {
        "line_up": [one.slug for one in classifiers.list_picture_classifiers()],
        "encoder": encoder.slug if (encoder := encoders.get_active()) else "",
        "raw": measure_rate(lambda number: _prepare_networks(contents), count=IMAGES),
        "whole": measure_rate(lambda number: _prepare_judging(contents), count=IMAGES),
    }
    Path(out).write_text(json.dumps(figures))


def _judge(content: bytes) -> None:
    """Run the line-up and the encoder on one image, which is decoded once."""
    picture = Picture.from_content(content)
    for classifier in classifiers.list_picture_classifiers():
        classifier.assess(picture)
    if encoder := encoders.get_active():
        encoders.pack(encoders.encode(encoder, picture))


def _prepare_judging(contents: list[bytes]) -> Callable[[], None]:
    images = cycle(contents)
    return lambda: _judge(next(images))


def _prepare_networks(contents: list[bytes]) -> Callable[[], None]:
    with _record_runs() as runs:
        _judge(contents[0])

    def work() -> None:
        for session, inputs in runs:
            session.run(None, inputs)

    return work


@contextmanager
def _record_runs() -> Iterator[list[Run]]:
    """Collect the runs of all networks inside the block."""
    from onnxruntime import InferenceSession

    runs: list[Run] = []
    original = InferenceSession.run

    def run(session: Any, names: Any, inputs: dict[str, Any], *more: Any) -> Any:
        runs.append((session, inputs))
        return original(session, names, inputs, *more)

    with mock.patch.object(InferenceSession, "run", run):
        yield runs
