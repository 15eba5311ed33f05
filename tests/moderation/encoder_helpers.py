"""A small encoder for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from moderation.classifiers import encoders
from moderation.classifiers.picture import Picture


class MeanColour:
    """An encoder whose vector is the mean colour."""

    slug, version, dim = "colour", "colour-1", 3

    def encode(self, picture: Picture) -> encoders.Vector:
        return picture.scale((8, 8)).mean(axis=(0, 1), dtype=np.float32)


def use_mean_colour(settings: Any) -> None:
    settings.ENCODER_BACKENDS = {"colour": f"{__name__}.MeanColour"}
    settings.ENCODER = "colour"
    encoders.get.cache_clear()
