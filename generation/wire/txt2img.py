"""The body of Novita's ``POST /v3/async/txt2img``: the only declaration of its fields.

Source: https://novita.ai/docs/api-reference/model-apis-txt2img.

Everything else derives from the models here: the mapping to columns (``field_map``), the columns
(``generation.models.txt2img_columns``), the form (``generation.forms``), the page of a request, the
admin, the API's validation and its OpenAPI document. To add a field, add it here and make a
migration. Limits that no provider documents are in ``generation.services.validation``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from generation.wire.base import WireModel, is_object
from generation.wire.fields import ApiRefusal, Column, Input, WireField, walk_fields

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

SEED_RANDOM = -1
SEED_MAX = 2**63 - 1  # no maximum is documented; the wire's integer has 64 bits
IMAGE_TYPE_DEFAULT: ImageType = "png"
NSFW_LEVEL_DEFAULT: NsfwLevel = 0
NSFW_LEVEL_LABELS = {
    0: "Level 0: explicit nudity, sexual activity, sex toys, hate symbols",
    1: "Level 1: level 0, and non-explicit nudity, obstructed intimate parts, kissing on the lips",
    2: "Level 2: level 1, and swimwear and underwear",
}

_TRANSPARENCY = "transparency"


class _Body(WireModel):
    # Strict: a JSON number is a number and a string is a string, as at Novita.
    model_config = ConfigDict(strict=True, allow_inf_nan=False, hide_input_in_errors=True)


class Lora(_Body):
    model_name: Annotated[
        str,
        Input("LoRA {row}", "loras", name="lora_{row}_name", catalog_kind="lora"),
    ] = Field(min_length=1)  # the model's sd_name_in_api
    strength: Annotated[
        float,
        Input(
            "Strength of LoRA {row}",
            "loras",
            name="lora_{row}_strength",
            initial="0.8",
            show_range=False,  # it stands above the rows
            has_fact=False,
        ),
    ] = Field(ge=0, le=1)


class Embedding(_Body):
    model_name: Annotated[
        str,
        Input(
            "Embedding {row}",
            "embeddings",
            name="embedding_{row}_name",
            catalog_kind="textualinversion",
        ),
    ] = Field(min_length=1)


class HiresFix(_Body):
    target_width: Annotated[
        int,
        Input(
            "Hires width", "hires", name="hires_width", unit="pixels", datalist="sizes", fact="Size"
        ),
    ] = Field(ge=128, le=4096, description="One side may be at most 20 times the other.")
    target_height: Annotated[
        int,
        Input(
            "Hires height",
            "hires",
            name="hires_height",
            unit="pixels",
            datalist="sizes",
            has_fact=False,
        ),
    ] = Field(ge=128, le=4096)
    strength: Annotated[
        float,
        Input(
            "Hires strength",
            "hires",
            name="hires_strength",
            help="How much of the image is redrawn.",
            initial="0.5",
            fact="Strength",
        ),
    ] = Field(ge=0, le=1)
    upscaler: Annotated[
        Upscaler | None,
        Input("Upscaler", "hires", name="hires_upscaler", empty_choice="the provider's choice"),
    ] = None


class Refiner(_Body):
    switch_at: Annotated[
        float,
        Column(name="refiner_switch_at"),
        Input(
            "Switch to the refiner at",
            "model",
            help="Share of the steps after which the refiner takes over. Empty: no refiner.",
            fact="Refiner from",
        ),
    ] = Field(ge=0, le=1)


class TestMode(_Body):
    __test__ = False  # keeps pytest from collecting it

    enabled: bool
    return_task_status: TestStatus


class Webhook(_Body):
    url: str = Field(
        min_length=1,
        description=(
            "A public URL. Loupe calls it when all images are decided, and when an image is"
            " withdrawn."
        ),
    )
    test_mode: TestMode | None = None


class AwsS3(_Body):
    region: Annotated[
        str,
        Input(
            "S3 region",
            "delivery",
            name="s3_region",
            note="With your own storage, the provider also stores the images there.",
        ),
    ] = Field(min_length=1)
    bucket: Annotated[str, Input("S3 bucket", "delivery", name="s3_bucket")] = Field(min_length=1)
    path: Annotated[
        str, Input("S3 path", "delivery", name="s3_path", help="The folder in the bucket.")
    ]
    save_to_path_directly: Annotated[
        bool,
        Input(
            "Put the files directly into the path",
            "delivery",
            name="s3_save_to_path_directly",
            fact="Files",
            fact_value="directly in the path",
        ),
    ] = False


class CustomStorage(_Body):
    aws_s3: AwsS3


class EnterprisePlan(_Body):
    enabled: Annotated[
        bool,
        Column(name="enterprise_plan"),
        Input(
            "Use the enterprise plan",
            "delivery",
            help="Requires an enterprise contract.",
            fact="Plan",
            fact_value="enterprise",
        ),
    ] = False


class Request(_Body):
    """The image to generate."""

    model_name: Annotated[
        str,
        Column("model"),
        Input(
            "Model",
            "what",
            after="negative_prompt",
            missing="Model is missing. Enter the name of a checkpoint as the provider spells it.",
            datalist="models",
            catalog_kind="checkpoint",
        ),
    ] = Field(min_length=1, description="sd_name of a checkpoint.")
    prompt: Annotated[str, Column(), Input("Prompt", "what", text_rows=5, has_fact=False)] = Field(
        min_length=1, max_length=1024, description="At least one visible character."
    )
    negative_prompt: Annotated[
        str | None, Column(), Input("Negative prompt", "what", text_rows=2, has_fact=False)
    ] = Field(default=None, min_length=1, max_length=1024)
    width: Annotated[
        int,
        Column(),
        Input("Width", "how", unit="pixels", initial=512, datalist="sizes", fact="Size"),
    ] = Field(ge=128, le=2048)
    height: Annotated[
        int,
        Column(),
        Input("Height", "how", unit="pixels", initial=512, datalist="sizes", has_fact=False),
    ] = Field(ge=128, le=2048)
    image_num: Annotated[
        int,
        Column("images"),
        Input("Images", "how", unit="images", initial=4),  # enough to choose from
    ] = Field(ge=1, le=8)
    steps: Annotated[int, Column(), Input("Steps", "how", unit="steps", initial=20)] = Field(
        ge=1, le=100
    )
    # A float column, as in JSON: what was given is what is sent.
    guidance_scale: Annotated[
        float,
        Column(),
        Input("Guidance", "how", help="How closely the image follows the prompt.", initial=7.5),
    ] = Field(ge=1, le=30)
    sampler_name: Annotated[
        Sampler,
        Column("sampler", length=40),
        Input("Sampler", "how", after="image_num", initial="Euler a"),
    ]
    # The column holds a seed of our own, never -1: a submission repeated by a person then asks for
    # the identical images.
    seed: Annotated[
        int,
        Column(always_sent=True),
        Input(
            "Seed",
            "how",
            show_range=False,
            help=f"Empty or {SEED_RANDOM}: Loupe chooses one. Up to {SEED_MAX}.",
        ),
    ] = Field(default=SEED_RANDOM, ge=SEED_RANDOM, le=SEED_MAX, description="-1: a random seed.")
    sd_vae: Annotated[
        str | None,
        Column("VAE"),
        Input("VAE", "model", help="Optional. Empty: the model's own.", catalog_kind="vae"),
    ] = Field(default=None, description="sd_name of a VAE.")
    # From the inpainting page: it is in every txt2img example, but not in the table of fields.
    clip_skip: Annotated[int | None, Column(), Input("Clip skip", "model")] = Field(
        default=None, ge=1, le=12
    )
    loras: Annotated[list[Lora], Column("LoRAs", help_text="model_name and strength of each.")] = (
        Field(default_factory=list, max_length=5)
    )
    embeddings: Annotated[list[Embedding], Column(help_text="model_name of each.")] = Field(
        default_factory=list, max_length=5
    )
    hires_fix: Annotated[
        HiresFix | None, Column(help_text="target_width, target_height, strength, upscaler")
    ] = None
    refiner: Refiner | None = None
    enable_transparent_background: Annotated[
        bool,
        Column("transparent background"),
        Input(
            "Transparent background",
            "finish",
            help=(
                "SDXL checkpoints and image type png only. The provider's list says which "
                "checkpoints are SDXL; the provider checks all others. The image is "
                "classified with grey in place of transparent parts."
            ),
            fact="Background",
            fact_value="transparent",
        ),
    ] = Field(
        default=False,
        description=(
            "SDXL models and png only. Delivered transparent if a person approved the image, "
            "else opaque with mid grey in place of transparent parts."
        ),
    )
    restore_faces: Annotated[
        bool,
        Column(),
        Input("Restore faces", "finish", fact="Faces", fact_value="restored"),
    ] = False

    @model_validator(mode="before")
    @classmethod
    def _empty_negative_prompt(cls, data: Any) -> Any:
        """Read "" as no negative prompt.

        SDKs send it, although the documented length starts at 1.
        """
        if is_object(data) and data.get("negative_prompt") == "":
            return {name: value for name, value in data.items() if name != "negative_prompt"}
        return data


class Extra(_Body):
    """The delivery of the images. These flags do nothing when they stand under ``request``."""

    response_image_type: Annotated[
        ImageType,
        Column("image type", length=4, always_sent=True),
        Input(
            "Image type",
            "delivery",
            help="File type that the provider delivers.",
            initial=IMAGE_TYPE_DEFAULT,
        ),
    ] = Field(
        default=IMAGE_TYPE_DEFAULT,
        description=(
            "File type requested from the provider. Loupe delivers the same type, without "
            "location and personal metadata."
        ),
    )
    enable_nsfw_detection: Annotated[
        bool,
        Column(always_sent=True),
        Input(
            "Use the provider's NSFW detection",
            "delivery",
            help=(
                "Moderators see the result among the labels. Detection costs extra, the "
                "same at every level."
            ),
            initial=True,
            fact="Detection",
        ),
    ] = False
    nsfw_detection_level: Annotated[
        NsfwLevel,
        Column(default=NSFW_LEVEL_DEFAULT, always_sent=True),
        Input(
            "Detection level",
            "delivery",
            # The widest level costs no more than the narrowest and finds the most. The policy
            # says what follows from a finding.
            initial=max(NSFW_LEVELS),
            choice_labels=NSFW_LEVEL_LABELS,
            has_fact=False,
        ),
    ] = Field(
        default=NSFW_LEVEL_DEFAULT,
        description="0 explicit content and hate symbols, 1 also nudity, 2 also swimwear.",
    )
    webhook: Webhook | None = None
    custom_storage: Annotated[
        CustomStorage | None,
        Column(help_text="aws_s3: region, bucket, path"),
        ApiRefusal(
            "INVALID_CUSTOM_OUTPUT_PATH",
            "images would arrive in the bucket before they are reviewed",
        ),
    ] = None
    enterprise_plan: EnterprisePlan | None = None


class Txt2ImgBody(_Body):
    """The whole body. ``explain`` turns a ValidationError about it into a sentence."""

    extra: Extra = Field(default_factory=Extra)
    request: Request

    @model_validator(mode="after")
    def _transparency_needs_png(self) -> Txt2ImgBody:
        if self.request.enable_transparent_background and self.extra.response_image_type != "png":
            raise PydanticCustomError(_TRANSPARENCY, "needs the image type png")
        return self

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON object to send, without unset fields.

        No documented example holds null.
        """
        return self.model_dump(mode="json", exclude_unset=True)


FIELDS = tuple(walk_fields(Request, ("request",))) + tuple(walk_fields(Extra, ("extra",)))
# By path, because names repeat: LoRAs and the hires fix both have a strength.
RANGES = {field.path: field.limits for field in FIELDS if field.limits}
_FIELDS_BY_PATH = {field.path: field for field in FIELDS}
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
    """One wrong value: its place in the body, and the demand on it."""

    path: tuple[int | str, ...]
    demand: str

    def __str__(self) -> str:
        return f"{'.'.join(str(part) for part in self.path) or 'The body'} {self.demand}"


def describe_demand(field: WireField) -> str:
    """Return the demand of a field's range, to follow its name: "must be from 128 to 2048"."""
    assert field.limits is not None
    low, high = field.limits
    if field.unit:
        return f"must have {low} to {high} {field.unit}"
    return f"must be from {low} to {high}"


def problems(error: ValidationError) -> list[Problem]:
    return [_problem(details) for details in error.errors(include_url=False, include_input=False)]


def sentence(found: Sequence[Problem]) -> str:
    """Return one sentence with the first wrong field, its range, and the number of others."""
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
    kind = details["type"]
    # Without positions in lists.
    field = _FIELDS_BY_PATH.get(tuple(part for part in details["loc"] if isinstance(part, str)))
    if kind == "json_invalid":
        return "is not JSON"
    if kind == "missing":
        return "is missing"
    if kind in {*_LENGTHS, *_BOUNDS, "literal_error"} and field and field.limits:
        return describe_demand(field)
    if kind in _LENGTHS:
        return "must not be empty"
    if kind == "literal_error":
        return f"must be {details['ctx']['expected']}"
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}"
    return f"is wrong: {details['msg'].removeprefix('Value error, ')}"
