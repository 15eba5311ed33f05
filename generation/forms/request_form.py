"""The request form: the common fields first, the rest in sections.
``generation.services.validation`` has the last word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

from django import forms
from django.forms import BoundField

from generation import providers
from generation.forms import rows
from generation.forms.fields import PromptField, choice, fraction, name, number
from generation.forms.presets import Preset
from generation.models import GenerationRequest
from generation.services import validation
from generation.services.model_catalog import CatalogUnavailableError
from generation.wire import txt2img as wire

# The wire's defaults, as Novita's own clients send them, but for the number of images and the
# detection: see below.
GUIDANCE_DEFAULT = 7.5
STEPS_DEFAULT = 20
SIZE_DEFAULT = 512
IMAGES_DEFAULT = 4  # enough to choose from
# The widest level costs no more than the narrowest and finds the most. What follows from a finding,
# the policy says.
LEVEL_DEFAULT = max(wire.NSFW_LEVELS)
LEVELS = {
    0: "Level 0: explicit nudity, sexual activity, sex toys, hate symbols",
    1: "Level 1: level 0, and non-explicit nudity, obstructed intimate parts, kissing on the lips",
    2: "Level 2: level 1, and swimwear and underwear",
}
SIZES = (256, 384, 512, 576, 640, 704, 768, 832, 896, 960, 1024, 1152, 1216, 1280, 1344, 1536, 2048)
FIELDS = validation.FIELDS


@dataclass(frozen=True)
class Section:
    """A part of the form that is folded until something in it is set or wrong."""

    slug: str
    title: str
    about: str
    fields: tuple[BoundField, ...]
    open: bool


class RequestForm(forms.Form):
    form_token = forms.UUIDField(widget=forms.HiddenInput({"autocomplete": "off"}), initial=uuid4)
    provider = forms.ChoiceField(label="Provider")
    prompt = PromptField(name="prompt", label="Prompt", rows=5)
    negative_prompt = PromptField(
        name="negative_prompt", label="Negative prompt", rows=2, required=False
    )
    model_name = name(
        "Model",
        missing="Model is missing. Write the name of a checkpoint, as the provider spells it.",
        attrs={"list": "models"},
    )
    width = number(
        "width",
        "Width",
        " pixels",
        initial=SIZE_DEFAULT,
        widget=forms.NumberInput({"list": "sizes"}),
    )
    height = number(
        "height",
        "Height",
        " pixels",
        initial=SIZE_DEFAULT,
        widget=forms.NumberInput({"list": "sizes"}),
    )
    image_num = number("image_num", "Images", " images", initial=IMAGES_DEFAULT)
    sampler_name = choice("Sampler", wire.SAMPLERS, wire.SAMPLER_DEFAULT)
    steps = number("steps", "Steps", " steps", initial=STEPS_DEFAULT)
    guidance_scale = fraction(
        "guidance_scale",
        "Guidance",
        about="How closely the image follows the prompt.",
        initial=GUIDANCE_DEFAULT,
    )
    seed = number(
        "seed",
        "Seed",
        required=False,
        widget=forms.TextInput({"inputmode": "numeric", "autocomplete": "off"}),
        help_text=f"Empty or {wire.SEED_RANDOM}: Loupe chooses one. Up to {wire.SEED[1]}.",
    )

    sd_vae = name("VAE", help_text="Optional. Empty: the model's own.")
    clip_skip = number("clip_skip", "Clip skip", required=False)
    hires_width = number(
        "target_width",
        "Hires width",
        " pixels",
        required=False,
        widget=forms.NumberInput({"list": "sizes"}),
    )
    hires_height = number(
        "target_height",
        "Hires height",
        " pixels",
        required=False,
        widget=forms.NumberInput({"list": "sizes"}),
    )
    hires_strength = fraction(
        "strength", "Hires strength", about="How much is drawn anew.", required=False, initial="0.5"
    )
    hires_upscaler = choice("Upscaler", wire.UPSCALERS, none="the provider's choice")
    refiner_switch_at = fraction(
        "switch_at",
        "Switch to the refiner at",
        about="The share of the steps before it takes over; empty: no refiner.",
        required=False,
    )
    enable_transparent_background = forms.BooleanField(
        label="Transparent background",
        required=False,
        help_text=(
            "SDXL checkpoints and image type png only. Whether a checkpoint is SDXL, the provider's"
            " list says; one that is not in it is left to the provider. Loupe shows it on grey."
        ),
    )
    restore_faces = forms.BooleanField(label="Restore faces", required=False)
    response_image_type = choice(
        "Image type",
        wire.IMAGE_TYPES,
        wire.IMAGE_TYPE_DEFAULT,
        help_text="What the provider delivers.",
    )
    enable_nsfw_detection = forms.BooleanField(
        label="Let the provider look for NSFW content",
        required=False,
        initial=True,
        help_text=(
            "A moderator sees its finding among the labels. It costs a little, the same at every"
            " level."
        ),
    )
    nsfw_detection_level = forms.TypedChoiceField(
        label="Detection level",
        coerce=int,
        choices=list(LEVELS.items()),
        initial=LEVEL_DEFAULT,
        widget=forms.RadioSelect,
        required=False,
        error_messages={
            "invalid_choice": f"Detection level {wire.demand('nsfw_detection_level')}."
        },
    )
    s3_region = name("S3 region")
    s3_bucket = name("S3 bucket")
    s3_path = name("S3 path", help_text="The folder in the bucket.")
    s3_save_to_path_directly = forms.BooleanField(
        label="Put the files directly into the path", required=False
    )
    enterprise_plan = forms.BooleanField(
        label="Use the enterprise plan",
        required=False,
        help_text="Only with a contract of that kind.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields.update(rows.fields())
        available = providers.list_labels()
        field = self.fields["provider"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = list(available.items())
        field.initial = next(iter(available), "")
        wrong = "Provider must be one that is configured. Choose it again."
        field.error_messages |= {"required": wrong, "invalid_choice": wrong}

    @classmethod
    def like(cls, request: GenerationRequest) -> RequestForm:
        """A new form filled in as an earlier request was, to the last field."""
        initial = rows.spread({name: getattr(request, name) for name in FIELDS})
        if not request.enable_nsfw_detection:
            initial["nsfw_detection_level"] = LEVEL_DEFAULT
        if request.provider in providers.list_labels():
            initial["provider"] = request.provider
        return cls(initial=initial)

    @classmethod
    def from_preset(cls, preset: Preset) -> RequestForm:
        return cls(initial=rows.spread(preset.fields))

    @property
    def chosen_provider(self) -> str:
        """The provider whose models are suggested."""
        chosen = str(self["provider"].value() or "")
        return chosen if chosen in providers.list_labels() else ""

    @property
    def request_fields(self) -> dict[str, Any]:
        """What ``create_request`` takes, from a valid form."""
        return self._accepted

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if not cleaned.get("enable_nsfw_detection") or cleaned.get("nsfw_detection_level") == "":
            cleaned["nsfw_detection_level"] = wire.NSFW_LEVEL_DEFAULT
        for field, demand in rows.incomplete(cleaned):
            if field not in self.errors:
                self._complain(field, demand)
        if not self.errors:
            self._have_the_last_word(cleaned)
        return cleaned

    def _have_the_last_word(self, cleaned: dict[str, Any]) -> None:
        """The fields above follow the wire's ranges; should they ever differ, the wire is right."""
        try:
            self._accepted = validation.validate_fields(
                rows.gather(cleaned), provider=cleaned["provider"]
            )
        except validation.InvalidFieldsError as error:
            for problem in error.problems:
                self._complain(rows.field_at(problem.path, cleaned), problem.demand)
        except CatalogUnavailableError as error:
            self.add_error(
                "enable_transparent_background",
                "Transparent background needs an SDXL model, and the list that says which ones are"
                f" cannot be read now. {error} Try again in a moment.",
            )

    def _complain(self, field: str, demand: str) -> None:
        if field in self.fields:
            self.add_error(field, f"{self.fields[field].label} {demand}.")
        else:
            self.add_error(None, f"The request {demand}.")

    # --- For the page ---

    @property
    def sections(self) -> list[Section]:
        return [self._section(*entry) for entry in rows.SECTIONS]

    def section_of(self, slug: str) -> Section:
        return next(section for section in self.sections if section.slug == slug)

    def _section(self, slug: str, title: str, about: str, names: tuple[str, ...]) -> Section:
        fields = tuple(self[name] for name in names)
        return Section(
            slug, title, about, fields, any(field.errors or _is_set(field) for field in fields)
        )


def _is_set(field: BoundField) -> bool:
    """Whether it says anything else than an untouched form would."""
    value, untouched = field.value(), field.field.initial
    if isinstance(field.field, forms.BooleanField):
        return bool(value) != bool(untouched)
    return _text(value) not in ("", _text(untouched))


def _text(value: object) -> str:
    """0.5 and 0.500 say the same."""
    text = "" if value is None else str(value).strip()
    try:
        return str(Decimal(text).normalize())
    except ArithmeticError:
        return text


def picked(query: Mapping[str, str]) -> dict[str, str]:
    """The names that came back from the list of models."""
    return {name: query[name][: validation.NAME_MAX] for name in rows.PICKED if query.get(name)}
