"""Ingest of JPEG files of 1024 × 1024 pixels: decode, hash, store, classify, settle.

Several processes import files of their own and run all classifications of each, more than there are
cores: each waits for the disk and for its decoder. The database gets new assets, so every run makes
other files.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from bench.picture_bytes import make_photo
from bench.side_by_side import measure_rate
from generation.services import storing
from moderation.classifiers.picture import Picture
from moderation.models import Classification, Review
from moderation.services import classification, embeddings

FILES = int(os.environ.get("BENCH_FILES", "60"))  # per process
PROCESSES = 4


def main(out: str) -> None:
    before = Review.objects.count()
    # Other files in each run. Below 2**31, and different for all processes and files.
    seed = time.time_ns() // 1000 % 2**20 * 1000
    whole = measure_rate(
        lambda number: _prepare(seed + number * 400), count=FILES, processes=PROCESSES
    )
    unsettled = Review.objects.filter(status=Review.Status.CLASSIFYING, pk__gt=before).count()
    Path(out).write_text(json.dumps({"whole": whole, "unsettled": unsettled}))


def _prepare(seed: int) -> Callable[[], None]:
    """Make the files of one process in advance; return the import of the next one."""
    files = iter([make_photo(seed + number) for number in range(FILES + 1)])

    def work() -> None:
        asset = storing.import_file(content=next(files), name="benchmark.jpeg")
        picture = Picture.from_asset(asset)
        for row in Classification.objects.filter(asset=asset).select_related("asset__request"):
            classification.classify(classification=row, picture=picture)
        embeddings.embed_along(asset=asset, picture=picture)

    return work
