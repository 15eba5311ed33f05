"""Models whose files are known: what ``manage.py model`` compares and fetches.

A model is listed if the sizes and SHA-256 of its files are published for a fixed revision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from PIL import Image

from moderation.classifiers.vision import layout
from moderation.classifiers.vision.layout import Preprocessing


@dataclass(frozen=True, slots=True)
class KnownFile:
    size: int  # bytes
    sha256: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """Conversion of a distance between similarities to a score: σ((100 × distance - bias) / T)."""

    bias: float = 0.0
    temperature: float = 3.0


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model with a name, a licence, and files whose content is known."""

    name: str
    licence: str
    licence_url: str
    base_url: str  # of a fixed revision; ends with a slash
    files: Mapping[str, KnownFile]
    preprocessing: Preprocessing
    # Numbers of tokens of a text, which any form of the right tokenizer gives.
    tokens: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    # At T = 1, OpenCLIP's own choice between two texts, most scores are near 0 or 1. At T = 3 they
    # spread: 73 at a distance of 0.03, 95 at 0.09. Neither number was fitted to labelled images.
    calibration: Calibration = Calibration()


# OpenCLIP, trained on LAION-2B; exported to ONNX by Immich. Sizes and SHA-256 of the towers: three
# public repositories that pin them agree. vocab.json and merges.txt are those that follow from
# bpe_simple_vocab_16e6.txt.gz of open_clip_torch 3.3.0.
OPENCLIP_B32: Final = KnownModel(
    name="ViT-B-32__laion2b-s34b-b79k",
    licence="MIT",
    licence_url="https://huggingface.co/laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
    base_url="https://huggingface.co/immich-app/ViT-B-32__laion2b-s34b-b79k/resolve/"
    "19a057a0fb927cf239541300e74237cd56c7ffe2/",
    files={
        layout.VISUAL: KnownFile(
            351_613_724, "b9ce24b91a8c62ef8d40ea786051709c93140104cbf2b6b4a2cc270df3838f9c"
        ),
        layout.TEXTUAL: KnownFile(
            254_193_396, "48c25be37b352398f2533c9426dab6f9340535e14e46f884cc894236a5060722"
        ),
        layout.VOCABULARY: KnownFile(
            862_328, "5047b556ce86ccaf6aa22b3ffccfc52d391ea4accdab9c2f2407da5b742d4363"
        ),
        layout.MERGES: KnownFile(
            524_619, "9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a"
        ),
    },
    # OPENAI_DATASET_MEAN and _STD of open_clip/constants.py.
    preprocessing=Preprocessing(
        side=224,
        mean=(0.48145466, 0.4578275, 0.40821073),
        std=(0.26862954, 0.26130258, 0.27577711),
        resampling=Image.Resampling.BICUBIC,
    ),
    tokens={
        "a plain red picture": (49406, 320, 10709, 736, 1674, 49407),
        "People applauding at a conference": (49406, 1047, 24713, 796, 536, 320, 2230, 49407),
        "It's a dog's life, 2024!": (
            *(49406, 585, 568, 320, 1929, 568, 970, 267, 273, 271, 273, 275, 256, 49407),
        ),
    },
)

KNOWN_MODELS: Final = {model.name: model for model in (OPENCLIP_B32,)}


def identify(sums: Mapping[str, str]) -> KnownModel | None:
    """Return the known model with these towers (name of a file to SHA-256), or None.

    Raises VisionModelError if only some of the files are those of a known model.
    """
    for model in KNOWN_MODELS.values():
        same = {
            name: sums[name] == known.sha256 for name, known in model.files.items() if name in sums
        }
        if all(same.values()):
            return model
        if same[layout.VISUAL] or same[layout.TEXTUAL]:
            other = ", ".join(name for name, is_same in same.items() if not is_same)
            raise layout.VisionModelError(
                f"The folder is that of {model.name}, except {other}: damaged, or of another model."
            )
    return None
