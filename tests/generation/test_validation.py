"""The rules of a request: the same in the form, in ``validate_fields`` and on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.utils import timezone
from pydantic import ValidationError

from generation.forms.presets import PRESETS
from generation.forms.request_form import RequestForm
from generation.forms.rows import to_form_values, to_request_fields
from generation.imaging.decode import decode_image
from generation.imaging.rendition import UnreadableImageError, find_shape_problem
from generation.providers.base import Model, ModelPage
from generation.sandbox import catalogue
from generation.services import model_catalog, validation
from generation.services.model_catalog import CatalogQuery
from generation.wire import field_map
from generation.wire.txt2img import Txt2ImgBody, explain
from tests.conftest import picture
from tests.generation.test_forms import sent
from tests.generation.wire.test_field_map import EVERYTHING, PLAIN

HIRES = {"target_width": 512, "target_height": 512, "strength": 0.5}
# Field of the form, its path in the body, a function from value to fields, other form fields
# needed, lowest value, highest value, step.
RANGES: list[tuple[str, str, Any, dict[str, str], float, float, float]] = [
    ("width", "request.width", lambda v: {"width": v}, {}, 128, 2048, 1),
    ("height", "request.height", lambda v: {"height": v}, {}, 128, 2048, 1),
    ("image_num", "request.image_num", lambda v: {"image_num": v}, {}, 1, 8, 1),
    ("steps", "request.steps", lambda v: {"steps": v}, {}, 1, 100, 1),
    (
        "guidance_scale",
        "request.guidance_scale",
        lambda v: {"guidance_scale": float(v)},
        {},
        1,
        30,
        0.01,
    ),
    ("seed", "request.seed", lambda v: {"seed": v}, {}, -1, 2**63 - 1, 1),
    ("clip_skip", "request.clip_skip", lambda v: {"clip_skip": v}, {}, 1, 12, 1),
    (
        "refiner_switch_at",
        "request.refiner.switch_at",
        lambda v: {"refiner_switch_at": float(v)},
        {},
        0,
        1,
        0.001,
    ),
    (
        "lora_1_strength",
        "request.loras.0.strength",
        lambda v: {"loras": [{"model_name": "a", "strength": float(v)}]},
        {"lora_1_name": "a"},
        0,
        1,
        0.001,
    ),
    (
        "hires_width",
        "request.hires_fix.target_width",
        lambda v: {"hires_fix": HIRES | {"target_width": v}},
        {"hires_height": "512", "hires_strength": "0.5"},
        128,
        4096,
        1,
    ),
    (
        "hires_height",
        "request.hires_fix.target_height",
        lambda v: {"hires_fix": HIRES | {"target_height": v}},
        {"hires_width": "512", "hires_strength": "0.5"},
        128,
        4096,
        1,
    ),
    (
        "hires_strength",
        "request.hires_fix.strength",
        lambda v: {"hires_fix": HIRES | {"strength": float(v)}},
        {"hires_width": "512", "hires_height": "512"},
        0,
        1,
        0.001,
    ),
    (
        "nsfw_detection_level",
        "extra.nsfw_detection_level",
        lambda v: {"nsfw_detection_level": v},
        {},
        0,
        2,
        1,
    ),
]


def wire_says(**fields: Any) -> str:
    try:
        Txt2ImgBody.model_validate(field_map.nest(PLAIN | fields))
    except ValidationError as error:
        return explain(error)
    return ""


def form_says(field: str, **fields: str) -> str:
    form = RequestForm(sent(**fields))
    return "" if form.is_valid() else str(form.errors[field][0])


@pytest.mark.parametrize("case", RANGES, ids=[case[0] for case in RANGES])
def test_form_and_wire_have_the_same_limits_and_messages(case: Any) -> None:
    field, path, put, beside, low, high, step = case
    label = RequestForm().fields[field].label

    for value in (low, high):
        assert form_says(field, **beside, **{field: str(value)}) == ""
        assert wire_says(**put(value)) == ""
    for value in (low - step, high + step):
        said = wire_says(**put(value))
        assert said.startswith(f"{path} must be from {low} to {high}")
        assert form_says(field, **beside, **{field: str(value)}) == said.replace(path, label)


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_form_and_wire_have_the_same_prompt_length_and_message(field: str) -> None:
    label = RequestForm().fields[field].label
    for length in (1, 1024):
        assert form_says(field, **{field: "x" * length}) == wire_says(**{field: "x" * length}) == ""
    said = wire_says(**{field: "x" * 1025})
    assert said == f"request.{field} must have 1 to 1024 characters."
    assert form_says(field, **{field: "x" * 1025}) == said.replace(f"request.{field}", label)


def test_request_has_at_most_five_loras_and_five_embeddings() -> None:
    lora, embedding = {"model_name": "a", "strength": 0.5}, {"model_name": "a"}
    rows = {f"lora_{n}_name": "a" for n in range(1, 6)} | {
        f"embedding_{n}_name": "a" for n in range(1, 6)
    }
    strengths = {f"lora_{n}_strength": "0.5" for n in range(1, 6)}

    form = RequestForm(sent(**rows, **strengths))
    assert form.is_valid()
    assert len(form.request_fields["loras"]) == len(form.request_fields["embeddings"]) == 5
    assert "lora_6_name" not in form.fields
    assert wire_says(loras=[lora] * 5, embeddings=[embedding] * 5) == ""
    assert wire_says(loras=[lora] * 6) == "request.loras must have 0 to 5 items."
    assert wire_says(embeddings=[embedding] * 6) == "request.embeddings must have 0 to 5 items."


# --- validate_fields ---


@pytest.fixture
def _no_lists() -> Iterator[None]:
    cache.clear()
    caches["models"].clear()
    yield
    cache.clear()
    caches["models"].clear()


def refusal(**fields: Any) -> str:
    with pytest.raises(validation.InvalidFieldsError) as caught:
        validation.validate_fields(PLAIN | fields)
    return str(caught.value)


@pytest.fixture
def _empty_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        model_catalog,
        "fetch_page",
        lambda question: model_catalog.CatalogPage(asked_at=timezone.now()),
    )


@pytest.mark.usefixtures("_empty_catalogue")
def test_valid_fields_are_returned_completely() -> None:
    assert validation.validate_fields(EVERYTHING) == EVERYTHING
    assert (
        tuple(validation.validate_fields({**PLAIN, "webhook_url": "https://x.example"}))
        == validation.FIELDS
    )


def test_numbers_keep_every_digit() -> None:
    values = validation.validate_fields(
        PLAIN | {"guidance_scale": 7.123456, "refiner_switch_at": 0.70049}
    )
    assert (values["guidance_scale"], values["refiner_switch_at"]) == (7.123456, 0.70049)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"prompt": "a{}b"}, "request.prompt"),
        ({"negative_prompt": "{}"}, "request.negative_prompt"),
        ({"model_name": "m{}"}, "request.model_name"),
        ({"sd_vae": "v{}"}, "request.sd_vae"),
        ({"loras": [{"model_name": "a{}", "strength": 1}]}, "request.loras.0.model_name"),
        (
            {"embeddings": [{"model_name": "a"}, {"model_name": "{}"}]},
            "request.embeddings.1.model_name",
        ),
        (
            {"custom_storage": {"aws_s3": {"region": "r", "bucket": "b", "path": "{}"}}},
            "extra.custom_storage.aws_s3.path",
        ),
    ],
)
@pytest.mark.parametrize(
    ("letter", "rule"), [("\0", validation.NUL), ("\ud800", validation.SURROGATE)]
)
def test_characters_that_postgresql_cannot_store_are_refused_with_a_message(
    fields: dict[str, Any], path: str, letter: str, rule: str
) -> None:
    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: filled(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [filled(inner) for inner in value]
        return value.replace("{}", letter) if isinstance(value, str) else value

    assert refusal(**filled(fields)) == f"{path} {rule}."


def test_name_longer_than_its_column_is_refused() -> None:
    assert refusal(sd_vae="x" * 256) == "request.sd_vae must have at most 255 characters."


@pytest.mark.usefixtures("_no_lists")
def test_transparent_background_needs_png_and_is_refused_for_known_non_sdxl_models() -> None:
    page = ModelPage(
        models=(Model(name="plain", title=""), Model(name="big", title="", is_sdxl=True))
    )
    model_catalog._cache_page(CatalogQuery(provider="novita"), page)
    model_catalog._cache_page(
        CatalogQuery(provider="novita", query="unheard of"), ModelPage(models=())
    )

    def said(**fields: Any) -> str:
        try:
            validation.validate_fields(
                PLAIN | {"enable_transparent_background": True} | fields, provider="novita"
            )
        except validation.InvalidFieldsError as error:
            return str(error)
        return ""

    assert said(model_name="big") == said(model_name="unheard of") == ""
    assert said(model_name="plain").endswith("needs an SDXL model, and plain is none.")
    assert said(model_name="big", response_image_type="webp").endswith("needs the image type png.")


def test_check_body_reports_every_problem() -> None:
    with pytest.raises(validation.InvalidFieldsError) as caught:
        validation.check_body(
            {
                "extra": {"response_image_type": "gif", "webhook": {"url": 1}},
                "request": {
                    **field_map.nest(PLAIN)["request"],
                    "prompt": "\u200b",
                    "width": 1,
                    "sd_vae": "x" * 256,
                    "negative_prompt": "a\0b",
                    "loras": [{"model_name": "a", "strength": 2}],
                },
            }
        )
    assert {".".join(map(str, problem.path)) for problem in caught.value.problems} == {
        "extra.response_image_type",
        "extra.webhook.url",
        "request.prompt",
        "request.width",
        "request.sd_vae",
        "request.negative_prompt",
        "request.loras.0.strength",
    }


INVISIBLE = [
    "",
    " ",
    "\t\n",
    "\u200b\u200c\u200d",
    "\u2060\ufeff",
    "\u00a0\u3000",
    "\u00ad",
    "\u202e",
    "\u3164",
    "\u2800",
    "\u0301",
    "\ufe0f",
    "\U000e0041",
]


@pytest.mark.parametrize("text", INVISIBLE)
def test_text_without_visible_characters_is_blank(text: str) -> None:
    assert validation.is_blank(text)
    assert not validation.is_blank(f"{text}.{text}")


@pytest.mark.parametrize("text", ["a", "港", "\U0001f600", "\U0001fae8", "\ue000", "é", "."])
def test_text_with_a_visible_character_is_not_blank(text: str) -> None:
    assert not validation.is_blank(text)


@pytest.mark.parametrize(
    ("width", "height", "code"),
    [
        (4096, 192, "too-elongated"),
        (192, 4096, "too-elongated"),
        (4096, 204, "too-elongated"),
        (4096, 205, ""),
        (4096, 4096, ""),
        (128, 2560, ""),
        (128, 2561, "too-elongated"),
    ],
)
def test_form_service_and_decoder_refuse_the_same_sizes(width: int, height: int, code: str) -> None:
    problem = find_shape_problem(width, height)
    assert (problem[0] if problem else "") == code
    hires = {"target_width": width, "target_height": height, "strength": 0.5}
    form = RequestForm(sent(hires_width=str(width), hires_height=str(height), hires_strength="0.5"))
    assert form.is_valid() is not bool(code)
    if code:
        assert "is more than 20 times as long as wide" in refusal(hires_fix=hires)
        assert "is more than 20 times as long as wide" in form.errors["hires_width"][0]
        with pytest.raises(UnreadableImageError) as caught:
            decode_image(picture(size=(width, height)))
        assert caught.value.code == code
    else:
        assert (
            validation.validate_fields(PLAIN | {"hires_fix": hires})["hires_fix"]["target_width"]
            == width
        )


# --- The form's rows and sections ---


@pytest.mark.usefixtures("_empty_catalogue")
def test_form_values_and_request_fields_round_trip() -> None:
    form = RequestForm(initial=to_form_values(EVERYTHING))
    data = {name: form[name].value() for name in form.fields}
    filled = RequestForm(
        sent(
            **{
                name: value
                for name, value in data.items()
                if value not in (None, "") and value is not False
            }
        )
    )

    assert filled.is_valid(), filled.errors
    assert filled.request_fields == EVERYTHING


def test_error_messages_name_the_row_despite_empty_rows() -> None:
    form = RequestForm(
        sent(lora_2_name="a", lora_2_strength="0.5", lora_4_name="b" * 256, lora_4_strength="0.5")
    )
    assert list(form.errors) == ["lora_4_name"]
    form = RequestForm(sent(lora_4_name="a", lora_4_strength=""))
    assert form.errors == {"lora_4_strength": ["Strength of LoRA 4 must be from 0 to 1."]}


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"hires_width": "512"}, {"hires_height", "hires_strength"}),
        ({"hires_upscaler": "Latent", "hires_strength": "0.5"}, {"hires_width", "hires_height"}),
        ({"s3_path": "/p"}, {"s3_region", "s3_bucket"}),
        ({"s3_save_to_path_directly": "on", "s3_bucket": "b"}, {"s3_region"}),
        (
            {"enable_transparent_background": "on", "response_image_type": "jpeg"},
            {"enable_transparent_background"},
        ),
    ],
)
def test_incomplete_group_is_refused_at_its_missing_fields(
    fields: dict[str, str], wrong: set[str]
) -> None:
    assert set(RequestForm(sent(**fields)).errors) == wrong


def opened(form: RequestForm) -> set[str]:
    return {section.slug for section in form.sections if section.open}


def test_section_is_open_if_a_field_in_it_is_set_or_invalid() -> None:
    assert opened(RequestForm()) == set()
    assert (
        opened(
            RequestForm(
                initial=to_form_values(
                    PLAIN | {"enable_nsfw_detection": True, "nsfw_detection_level": 2}
                )
            )
        )
        == set()
    )
    assert opened(RequestForm(initial=to_form_values(EVERYTHING))) == {
        "loras",
        "embeddings",
        "model",
        "hires",
        "finish",
        "delivery",
    }
    assert opened(RequestForm(sent(clip_skip="13"))) == {"model"}
    assert opened(RequestForm(sent(lora_1_strength="2"))) == {"loras"}


@pytest.mark.parametrize("slug", PRESETS)
def test_preset_is_valid_and_uses_models_of_the_sandbox(slug: str) -> None:
    form = RequestForm.from_preset(PRESETS[slug])
    data = {
        name: value for name in form.fields if (value := form[name].value()) not in (None, False)
    }
    filled = RequestForm(data | {"provider": "novita-sandbox"})
    assert filled.is_valid(), filled.errors
    fields = filled.request_fields

    known = {
        (row.type.name, name)
        for row in catalogue.ROWS
        for name in (row.sd_name, row.sd_name_in_api)
    }
    assert ("checkpoint", fields["model_name"]) in known
    assert all(("lora", row["model_name"]) in known for row in fields["loras"])
    assert all(("textualinversion", row["model_name"]) in known for row in fields["embeddings"])
    assert opened(form) == {
        "lora": {"loras"},
        "embeddings": {"embeddings", "model"},
        "hires-fix": {"hires"},
    }.get(slug, {"model"} if slug == "refiner" else set())


def test_six_presets_differ() -> None:
    shown = [
        to_request_fields(to_form_values(preset.fields) | {"hires_strength": 0})
        for preset in PRESETS.values()
    ]
    assert len(PRESETS) == len({str(fields) for fields in shown}) == 6
