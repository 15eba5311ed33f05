"""The request form. Its ranges are those of ``generation.wire.txt2img``, which also has the last word."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django import forms
from pydantic import ValidationError

from generation import providers
from generation.models import GenerationRequest
from generation.wire import txt2img as wire

# The wire's defaults, as Novita's own clients send them, but for the number of images and the detection: see below.
GUIDANCE_DEFAULT = 7.5
STEPS_DEFAULT = 20
SIZE_DEFAULT = 512
IMAGES_DEFAULT = 4  # enough to choose from
# The widest level costs no more than the narrowest and finds the most. What follows from a finding, the policy says.
LEVEL_DEFAULT = max(wire.NSFW_LEVELS)
LEVELS = {
    0: "Level 0: explicit nudity, sexual activity, sex toys, hate symbols",
    1: "Level 1: level 0, and non-explicit nudity, obstructed intimate parts, kissing on the lips",
    2: "Level 2: level 1, and swimwear and underwear",
}
SIZES = (256, 384, 512, 576, 640, 704, 768, 832, 896, 960, 1024, 1152, 1216, 1280, 1344, 1536, 2048)
EXTRA = ("response_image_type", "enable_nsfw_detection", "nsfw_detection_level")
FIELDS = (
    "model_name", "prompt", "negative_prompt", "width", "height", "image_num", "steps", "guidance_scale",
    "sampler_name", "seed", *EXTRA,
)  # fmt: skip


class PromptField(forms.CharField):
    """Text whose line breaks count as one character, as in the browser's own counter."""

    def __init__(self, *, name: str, label: str, required: bool = True, rows: int) -> None:
        low, high = wire.RANGES[name]
        wrong = f"{label} must have {low} to {high} characters."
        super().__init__(
            label=label,
            required=required,
            min_length=int(low),
            max_length=int(high),
            widget=forms.Textarea({"rows": rows, "spellcheck": "false"}),
            help_text=f"{low} to {high} characters." if required else f"Optional. Up to {high} characters.",
            error_messages={"required": wrong, "min_length": wrong, "max_length": wrong},
        )

    def to_python(self, value: Any) -> Any:
        return super().to_python(value.replace("\r\n", "\n") if isinstance(value, str) else value)


def _number(name: str, label: str, unit: str, **options: Any) -> forms.IntegerField:
    """A whole number in the wire's range; every message names the field and the range."""
    low, high = wire.RANGES[name]
    wrong = f"{label} must be a whole number from {low} to {high}{unit}."
    messages = dict.fromkeys(("required", "invalid", "min_value", "max_value"), wrong)
    options.setdefault("help_text", f"{low} to {high}{unit}.")
    return forms.IntegerField(label=label, min_value=int(low), max_value=int(high), error_messages=messages, **options)


def _guidance() -> forms.DecimalField:
    low, high = wire.GUIDANCE
    wrong = f"Guidance must be a number from {low} to {high}, with at most two decimals."
    kinds = ("required", "invalid", "min_value", "max_value", "max_digits", "max_decimal_places", "max_whole_digits")
    field = GenerationRequest._meta.get_field("guidance_scale")
    return forms.DecimalField(
        label="Guidance", min_value=low, max_value=high, decimal_places=field.decimal_places, initial=GUIDANCE_DEFAULT,
        help_text=f"{low} to {high}. How closely the image follows the prompt.",
        error_messages=dict.fromkeys(kinds, wrong), widget=forms.NumberInput({"step": "any"}),
    )  # fmt: skip


def _choice(label: str, values: tuple[str, ...], initial: str, **options: Any) -> forms.ChoiceField:
    wrong = f"{label} must be one of: {', '.join(values)}."
    messages = {"required": wrong, "invalid_choice": wrong}
    choices = [(value, value) for value in values]
    return forms.ChoiceField(label=label, choices=choices, initial=initial, error_messages=messages, **options)


class RequestForm(forms.Form):
    form_token = forms.UUIDField(widget=forms.HiddenInput({"autocomplete": "off"}), initial=uuid4)
    provider = forms.ChoiceField(label="Provider")
    prompt = PromptField(name="prompt", label="Prompt", rows=5)
    negative_prompt = PromptField(name="negative_prompt", label="Negative prompt", rows=2, required=False)
    model_name = forms.CharField(
        label="Model",
        max_length=GenerationRequest._meta.get_field("model_name").max_length,
        widget=forms.TextInput({"list": "models", "autocomplete": "off", "spellcheck": "false"}),
        error_messages={"required": "Model is missing. Write the name of a checkpoint, as the provider spells it."},
    )
    width = _number("width", "Width", " pixels", initial=SIZE_DEFAULT, widget=forms.NumberInput({"list": "sizes"}))
    height = _number("height", "Height", " pixels", initial=SIZE_DEFAULT, widget=forms.NumberInput({"list": "sizes"}))
    image_num = _number("image_num", "Images", " images", initial=IMAGES_DEFAULT)
    steps = _number("steps", "Steps", " steps", initial=STEPS_DEFAULT)
    guidance_scale = _guidance()
    sampler_name = _choice("Sampler", wire.SAMPLERS, wire.SAMPLER_DEFAULT)
    seed = _number(
        "seed", "Seed", "", required=False, widget=forms.TextInput({"inputmode": "numeric", "autocomplete": "off"}),
        help_text=f"Empty or {wire.SEED_RANDOM}: Loupe chooses one. Up to {wire.SEED[1]}.",
    )  # fmt: skip
    response_image_type = _choice(
        "Image type", wire.IMAGE_TYPES, wire.IMAGE_TYPE_DEFAULT, help_text="What the provider delivers."
    )
    enable_nsfw_detection = forms.BooleanField(
        label="Let the provider look for NSFW content", required=False, initial=True,
        help_text="A moderator sees its finding among the labels. It costs a little, the same at every level.",
    )  # fmt: skip
    nsfw_detection_level = forms.TypedChoiceField(
        label="Detection level", coerce=int, choices=list(LEVELS.items()), initial=LEVEL_DEFAULT,
        widget=forms.RadioSelect, required=False,
        error_messages={"invalid_choice": f"Detection level must be from {min(LEVELS)} to {max(LEVELS)}."},
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        available = providers.available()
        field = self.fields["provider"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = list(available.items())
        field.initial = next(iter(available), "")
        wrong = "Provider must be one that is configured. Choose it again."
        field.error_messages |= {"required": wrong, "invalid_choice": wrong}

    @classmethod
    def like(cls, request: GenerationRequest) -> RequestForm:
        """A new form filled in as an earlier request was."""
        initial = {name: getattr(request, name) for name in FIELDS}
        if not request.enable_nsfw_detection:
            initial["nsfw_detection_level"] = LEVEL_DEFAULT
        if request.provider in providers.available():
            initial["provider"] = request.provider
        return cls(initial=initial)

    @property
    def chosen_provider(self) -> str:
        """The provider whose models are suggested."""
        chosen = str(self["provider"].value() or "")
        return chosen if chosen in providers.available() else ""

    @property
    def request_fields(self) -> dict[str, Any]:
        """What ``create_request`` takes, from a valid form."""
        return {name: self.cleaned_data[name] for name in FIELDS}

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if not cleaned.get("enable_nsfw_detection") or cleaned.get("nsfw_detection_level") == "":
            cleaned["nsfw_detection_level"] = wire.NSFW_LEVEL_DEFAULT
        if not self.errors:
            self._ask_the_wire(cleaned)
        return cleaned

    def _ask_the_wire(self, cleaned: dict[str, Any]) -> None:
        """The fields above follow the wire's ranges; should they ever differ, the wire is right."""
        request = {name: cleaned[name] for name in FIELDS if name not in EXTRA}
        request["guidance_scale"] = float(request["guidance_scale"])
        extra = {name: cleaned[name] for name in EXTRA}
        try:
            wire.Txt2ImgBody.model_validate({"request": request, "extra": extra})
        except ValidationError as error:
            where = error.errors()[0]["loc"]
            name = str(where[-1]) if where else ""
            self.add_error(name if name in self.fields else None, wire.explain(error))
