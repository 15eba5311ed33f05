"""The body of Novita's ``POST /v3/async/txt2img``, as documented and nothing else.

Source: https://novita.ai/docs/api-reference/model-apis-txt2img. The ranges are constants, so that
forms, the client, the sandbox and the gateway share them. What Loupe allows beyond or below that is
decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from generation.wire.base import WireModel, is_object

Sampler = Literal[
    "Euler a",
    "Euler",
    "LMS",
    "Heun",
    "DPM2",
    "DPM2 a",
    "DPM++ 2S a",
    "DPM++ 2M",
    "DPM++ SDE",
    "DPM fast",
    "DPM adaptive",
    "LMS Karras",
    "DPM2 Karras",
    "DPM2 a Karras",
    "DPM++ 2S a Karras",
    "DPM++ 2M Karras",
    "DPM++ SDE Karras",
    "DDIM",
    "PLMS",
    "UniPC",
]
ImageType = Literal["png", "webp", "jpeg"]
NsfwLevel = Literal[0, 1, 2]
Upscaler = Literal["RealESRGAN_x4plus_anime_6B", "RealESRNet_x4plus", "Latent"]
TestStatus = Literal["TASK_STATUS_SUCCEED", "TASK_STATUS_FAILED"]

SAMPLERS: tuple[str, ...] = get_args(Sampler)
IMAGE_TYPES: tuple[str, ...] = get_args(ImageType)
NSFW_LEVELS: tuple[int, ...] = get_args(NsfwLevel)
UPSCALERS: tuple[str, ...] = get_args(Upscaler)

# Lengths in characters, (lowest, highest) pairs inclusive, sizes in pixels.
PROMPT_MIN = 1
PROMPT_MAX = 1024
SIZE = (128, 2048)
IMAGE_NUM = (1, 8)
STEPS = (1, 100)
GUIDANCE = (1, 30)
SEED_RANDOM = -1
SEED = (SEED_RANDOM, 2**63 - 1)  # no maximum is documented; the wire's integer has 64 bits
CLIP_SKIP = (1, 12)  # from the inpainting page: in every txt2img example, but not in its table
LORAS_MAX = 5
EMBEDDINGS_MAX = 5
HIRES_SIZE = (128, 4096)
STRENGTH = (0, 1)

SAMPLER_DEFAULT = "Euler a"
IMAGE_TYPE_DEFAULT: ImageType = "png"
NSFW_LEVEL_DEFAULT: NsfwLevel = 0


_TRANSPARENCY = "transparency"


class _Body(WireModel):
    # Strict: a JSON number is a number and a string is a string, as at Novita.
    model_config = ConfigDict(strict=True, allow_inf_nan=False, hide_input_in_errors=True)


class Lora(_Body):
    model_name: str = Field(min_length=1)  # the model's sd_name_in_api
    strength: float = Field(ge=STRENGTH[0], le=STRENGTH[1])


class Embedding(_Body):
    model_name: str = Field(min_length=1)


class HiresFix(_Body):
    target_width: int = Field(ge=HIRES_SIZE[0], le=HIRES_SIZE[1])
    target_height: int = Field(ge=HIRES_SIZE[0], le=HIRES_SIZE[1])
    strength: float = Field(ge=STRENGTH[0], le=STRENGTH[1])
    upscaler: Upscaler | None = None


class Refiner(_Body):
    switch_at: float = Field(ge=STRENGTH[0], le=STRENGTH[1])


class TestMode(_Body):
    __test__ = False  # not a test class, whatever pytest thinks of its name

    enabled: bool
    return_task_status: TestStatus


class Webhook(_Body):
    url: str = Field(min_length=1)
    test_mode: TestMode | None = None


class AwsS3(_Body):
    region: str = Field(min_length=1)
    bucket: str = Field(min_length=1)
    path: str
    save_to_path_directly: bool = False


class CustomStorage(_Body):
    aws_s3: AwsS3


class EnterprisePlan(_Body):
    enabled: bool = False


class Request(_Body):
    """What to draw."""

    model_name: str = Field(min_length=1)
    prompt: str = Field(min_length=PROMPT_MIN, max_length=PROMPT_MAX)
    negative_prompt: str | None = Field(default=None, min_length=PROMPT_MIN, max_length=PROMPT_MAX)
    width: int = Field(ge=SIZE[0], le=SIZE[1])
    height: int = Field(ge=SIZE[0], le=SIZE[1])
    image_num: int = Field(ge=IMAGE_NUM[0], le=IMAGE_NUM[1])
    steps: int = Field(ge=STEPS[0], le=STEPS[1])
    guidance_scale: float = Field(ge=GUIDANCE[0], le=GUIDANCE[1])
    sampler_name: Sampler
    seed: int = Field(default=SEED_RANDOM, ge=SEED[0], le=SEED[1])
    sd_vae: str | None = None
    clip_skip: int | None = Field(default=None, ge=CLIP_SKIP[0], le=CLIP_SKIP[1])
    loras: list[Lora] = Field(default_factory=list, max_length=LORAS_MAX)
    embeddings: list[Embedding] = Field(default_factory=list, max_length=EMBEDDINGS_MAX)
    hires_fix: HiresFix | None = None
    refiner: Refiner | None = None
    enable_transparent_background: bool = False
    restore_faces: bool = False

    @model_validator(mode="before")
    @classmethod
    def _empty_negative_prompt(cls, data: Any) -> Any:
        """SDKs send "" for no negative prompt, although the documented length starts at 1."""
        if is_object(data) and data.get("negative_prompt") == "":
            return {name: value for name, value in data.items() if name != "negative_prompt"}
        return data


class Extra(_Body):
    """How to deliver it. These flags do nothing when they stand under ``request``."""

    response_image_type: ImageType = IMAGE_TYPE_DEFAULT
    enable_nsfw_detection: bool = False
    nsfw_detection_level: NsfwLevel = NSFW_LEVEL_DEFAULT
    webhook: Webhook | None = None
    custom_storage: CustomStorage | None = None
    enterprise_plan: EnterprisePlan | None = None


class Txt2ImgBody(_Body):
    """The whole body. ``Txt2ImgBody.model_validate_json(body)`` raises ValidationError; see
    ``explain``.
    """

    extra: Extra = Field(default_factory=Extra)
    request: Request

    @model_validator(mode="after")
    def _transparency_needs_png(self) -> Txt2ImgBody:
        if self.request.enable_transparent_background and self.extra.response_image_type != "png":
            raise PydanticCustomError(_TRANSPARENCY, "needs the image type png")
        return self

    def to_wire(self) -> dict[str, Any]:
        """The JSON object to send: nothing that was left unset, because null is in no documented
        example.
        """
        return self.model_dump(mode="json", exclude_unset=True)


RANGES: dict[str, tuple[float, float]] = {
    "prompt": (PROMPT_MIN, PROMPT_MAX),
    "negative_prompt": (PROMPT_MIN, PROMPT_MAX),
    "width": SIZE,
    "height": SIZE,
    "image_num": IMAGE_NUM,
    "steps": STEPS,
    "guidance_scale": GUIDANCE,
    "seed": SEED,
    "clip_skip": CLIP_SKIP,
    "nsfw_detection_level": (min(NSFW_LEVELS), max(NSFW_LEVELS)),
    "loras": (0, LORAS_MAX),
    "embeddings": (0, EMBEDDINGS_MAX),
    "target_width": HIRES_SIZE,
    "target_height": HIRES_SIZE,
    "strength": STRENGTH,
    "switch_at": STRENGTH,
}
_UNITS = {
    "prompt": "characters",
    "negative_prompt": "characters",
    "loras": "items",
    "embeddings": "items",
}
_LENGTHS = {"string_too_short", "string_too_long", "too_short", "too_long"}
_BOUNDS = {"greater_than_equal", "less_than_equal", "greater_than", "less_than", "finite_number"}
_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number of 64 bits",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "model_type": "an object",
    "model_attributes_type": "an object",
}


class Problem(NamedTuple):
    """One thing that is wrong: where in the body, and what is demanded there."""

    path: tuple[int | str, ...]
    demand: str

    def __str__(self) -> str:
        return f"{'.'.join(str(part) for part in self.path) or 'The body'} {self.demand}"


def demand(name: str) -> str:
    """What the documented range asks of a field, to be said after its name: "must be from 128 to
    2048".
    """
    low, high = RANGES[name]
    if unit := _UNITS.get(name):
        return f"must have {low} to {high} {unit}"
    return f"must be from {low} to {high}"


def problems(error: ValidationError) -> list[Problem]:
    return [_problem(details) for details in error.errors(include_url=False, include_input=False)]


def sentence(found: Sequence[Problem]) -> str:
    """One sentence that names the first wrong field, its range, and how many follow."""
    rest = len(found) - 1
    if not rest:
        return f"{found[0]}."
    return f"{found[0]}, and {rest} more {'field is' if rest == 1 else 'fields are'} wrong."


def explain(error: ValidationError) -> str:
    """Turn a ValidationError into one sentence."""
    return sentence(problems(error))


def _problem(details: ErrorDetails) -> Problem:
    if details["type"] == _TRANSPARENCY:
        return Problem(("request", "enable_transparent_background"), details["msg"])
    return Problem(details["loc"], _demand(details))


def _demand(details: ErrorDetails) -> str:
    kind, name = details["type"], str(details["loc"][-1]) if details["loc"] else ""
    if kind == "json_invalid":
        return "is not JSON"
    if kind == "missing":
        return "is missing"
    if kind in {*_LENGTHS, *_BOUNDS, "literal_error"} and name in RANGES:
        return demand(name)
    if kind in _LENGTHS:
        return "must not be empty"
    if kind == "literal_error":
        return f"must be {details['ctx']['expected']}"
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}"
    return f"is wrong: {details['msg'].removeprefix('Value error, ')}"
