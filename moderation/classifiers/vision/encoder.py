"""The visual tower of the chosen image-text model as an encoder."""

from __future__ import annotations

from moderation.classifiers.picture import WHOLE, Box, Picture
from moderation.classifiers.vision import installed
from moderation.classifiers.vision.layout import VisionModelError
from moderation.classifiers.vision.towers import Floats


class VisionEncoder:
    """A ``TextEncoder``."""

    slug = "vision"

    @property
    def version(self) -> str:
        """The model and its input. Without a model, images are queued and then given up."""
        try:
            return f"vision-{installed.get_chosen().digest[:12]}-p{installed.INPUT_RULES}"
        except VisionModelError:
            return "vision-missing"

    @property
    def dim(self) -> int:
        return installed.get_chosen().dim

    def encode(self, picture: Picture) -> Floats:
        """Return the vector of the whole picture."""
        return self.encode_box(picture, WHOLE)

    def encode_box(self, picture: Picture, box: Box) -> Floats:
        """Return the vector of a part of the picture. Raises ClassifierError."""
        return installed.get_chosen().encode_picture(picture, box)

    def encode_text(self, text: str) -> Floats:
        """Return the vector of a text. Raises ClassifierError."""
        return installed.get_chosen().encode_words(text)
