"""Requests of people and programs, which reach the provider unchanged, to the last digit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generation.models import GenerationRequest, RequestTransition
from generation.services import model_catalog
from generation.services import requests as service
from generation.services.validation import is_blank
from generation.wire import field_map
from generation.wire import txt2img as wire
from generation.wire.txt2img import Txt2ImgBody
from tests.generation.test_forms import sent
from tests.moderation.api.calls import make_key

pytestmark = pytest.mark.django_db
NEW, SUBMIT = "/requests/new/", "/v3/async/txt2img"
QUICK = settings(
    max_examples=25,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0\r")
prompts = st.text(letters, min_size=1, max_size=60).filter(lambda text: not is_blank(text))
names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9 ._-]{0,40}[A-Za-z0-9])?", fullmatch=True)
shares = st.floats(0, 1)


def whole(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high)


sizes = st.tuples(
    whole(*wire.RANGES["request", "hires_fix", "target_width"]),
    whole(*wire.RANGES["request", "hires_fix", "target_height"]),
).filter(lambda pair: max(pair) <= 20 * min(pair))
hires = st.builds(
    lambda size, strength, upscaler: {
        "target_width": size[0],
        "target_height": size[1],
        "strength": strength,
        "upscaler": upscaler,
    },
    sizes,
    shares,
    st.sampled_from(wire.UPSCALERS),
)
bodies = st.fixed_dictionaries(
    {
        "extra": st.fixed_dictionaries(
            {
                "response_image_type": st.just("png"),
                "enable_nsfw_detection": st.booleans(),
                "nsfw_detection_level": st.sampled_from(wire.NSFW_LEVELS),
                "enterprise_plan": st.fixed_dictionaries({"enabled": st.booleans()}),
            }
        ),
        "request": st.fixed_dictionaries(
            {
                "model_name": names,
                "prompt": prompts,
                "width": whole(*wire.RANGES["request", "width"]),
                "height": whole(*wire.RANGES["request", "height"]),
                "image_num": whole(*wire.RANGES["request", "image_num"]),
                "steps": whole(*wire.RANGES["request", "steps"]),
                "guidance_scale": st.floats(*wire.RANGES["request", "guidance_scale"]),
                "sampler_name": st.sampled_from(wire.SAMPLERS),
                "seed": whole(*wire.RANGES["request", "seed"]),
                "enable_transparent_background": st.booleans(),
                "restore_faces": st.booleans(),
            },
            optional={
                "negative_prompt": prompts,
                "sd_vae": names,
                "clip_skip": whole(*wire.RANGES["request", "clip_skip"]),
                "loras": st.lists(
                    st.fixed_dictionaries({"model_name": names, "strength": shares}), max_size=5
                ),
                "embeddings": st.lists(st.fixed_dictionaries({"model_name": names}), max_size=5),
                "hires_fix": hires,
                "refiner": st.fixed_dictionaries({"switch_at": shares}),
            },
        ),
    }
)


@pytest.fixture(autouse=True)
def _catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        model_catalog,
        "fetch_page",
        lambda question: model_catalog.CatalogPage(asked_at=timezone.now()),
    )


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and value of every set field; False and "" count as unset."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from leaves(inner, f"{path}.{place}")
    elif value is not False and value != "":
        yield path, value


def posted(request: GenerationRequest) -> dict[str, Any]:
    """Return the body that the provider's client makes from the stored request."""
    request.refresh_from_db()
    nested = field_map.nest(request.submission.fields)
    return dict(json.loads(json.dumps(Txt2ImgBody.model_validate(nested).to_wire())))


def assert_as_given(given_body: dict[str, Any], request: GenerationRequest) -> None:
    asked, went = dict(leaves(given_body)), dict(leaves(posted(request)))
    if asked[".request.seed"] == wire.SEED_RANDOM:
        asked[".request.seed"] = went[".request.seed"]
    if not given_body["extra"]["enable_nsfw_detection"]:  # then the level has no effect
        asked.pop(".extra.nsfw_detection_level"), went.pop(".extra.nsfw_detection_level")
    assert went == asked


def forget() -> None:
    RequestTransition.objects.all().delete()
    GenerationRequest.objects.all().delete()


def test_api_request_reaches_the_provider_unchanged() -> None:
    key = make_key("generate", calls_per_minute=1_000_000)

    @QUICK
    @given(bodies)
    def check(body: dict[str, Any]) -> None:
        forget()
        answer = Client().post(
            SUBMIT, body, content_type="application/json", headers={"x-api-key": key}
        )
        assert answer.status_code == 200, answer.content
        assert_as_given(body, GenerationRequest.objects.get())

    check()


def as_typed(body: dict[str, Any]) -> dict[str, str]:
    """Return the form data that corresponds to the body."""
    request, extra = body["request"], body["extra"]
    plain = {
        name: str(request[name])
        for name in request
        if not isinstance(request[name], dict | list | bool)
    }
    typed = {**plain, "response_image_type": extra["response_image_type"]}
    flags = {
        "enable_transparent_background": request["enable_transparent_background"],
        "restore_faces": request["restore_faces"],
        "enable_nsfw_detection": extra["enable_nsfw_detection"],
        "enterprise_plan": extra["enterprise_plan"]["enabled"],
    }
    typed |= {name: "on" for name, value in flags.items() if value}
    typed["nsfw_detection_level"] = str(extra["nsfw_detection_level"])
    for row, lora in enumerate(request.get("loras", []), start=1):
        typed |= {
            f"lora_{row}_name": lora["model_name"],
            f"lora_{row}_strength": str(lora["strength"]),
        }
    for row, embedding in enumerate(request.get("embeddings", []), start=1):
        typed[f"embedding_{row}_name"] = embedding["model_name"]
    if fix := request.get("hires_fix"):
        names_there = {"target_width": "hires_width", "target_height": "hires_height"}
        typed |= {names_there.get(name, f"hires_{name}"): str(value) for name, value in fix.items()}
    if refiner := request.get("refiner"):
        typed["refiner_switch_at"] = str(refiner["switch_at"])
    return typed


def test_form_request_reaches_the_provider_unchanged(
    client_of: Callable[[User], Client], moderator: User
) -> None:
    browser = client_of(moderator)

    @QUICK
    @given(bodies)
    def check(body: dict[str, Any]) -> None:
        forget()
        typed = sent(**as_typed(body))
        if not body["extra"]["enable_nsfw_detection"]:
            typed.pop("enable_nsfw_detection", None)
        answer = browser.post(NEW, typed)
        assert answer.status_code == 302, answer.context["form"].errors
        assert_as_given(body, GenerationRequest.objects.get())

    check()


@pytest.mark.parametrize("field", ["guidance_scale", "refiner_switch_at"])
def test_form_refuses_more_digits_than_can_be_sent(
    client_of: Callable[[User], Client], moderator: User, field: str
) -> None:
    browser = client_of(moderator)
    typed = {
        "guidance_scale": "7.12345678901234567890",
        "refiner_switch_at": "0.12345678901234567890",
    }[field]

    answer = browser.post(NEW, sent(**{field: typed}))

    assert answer.status_code == 422
    assert f"The nearest number is {float(typed)!r}." in str(answer.context["form"].errors[field])
    assert browser.post(NEW, sent(**{field: repr(float(typed))})).status_code == 302


# --- Blank prompts ---
BLANK = ["", " ", "\n\t ", "\u200b\u200d", "\ufeff", "\u3164", "\u2800\u00ad"]


@pytest.mark.parametrize("prompt", BLANK)
def test_api_form_and_service_refuse_a_blank_prompt(
    client_of: Callable[[User], Client], moderator: User, prompt: str
) -> None:
    key = make_key("generate")
    request = {
        "model_name": "m",
        "prompt": prompt,
        "width": 512,
        "height": 512,
        "image_num": 1,
        "steps": 20,
        "guidance_scale": 7.5,
        "sampler_name": "Euler a",
    }

    api = Client().post(
        SUBMIT, {"request": request}, content_type="application/json", headers={"x-api-key": key}
    )
    assert api.status_code == 400
    assert "request.prompt" in api.json()["metadata"]["fields"]
    form = client_of(moderator).post(NEW, sent(prompt=prompt))
    assert form.status_code == 422
    assert "prompt" in form.context["form"].errors
    with pytest.raises(service.BlankPromptError):
        service.create_request(
            user=moderator, provider="novita-sandbox", fields={**request, "prompt": prompt}
        )
    assert not GenerationRequest.objects.exists()


def test_old_request_with_a_blank_prompt_is_not_sent_again(
    client_of: Callable[[User], Client], senior: User, admin: User, make_request: Any
) -> None:
    old = make_request(
        status="failed", error="refused", prompt=" \u200b", finished_at=timezone.now()
    )

    page = client_of(senior).post(f"/requests/{old.uuid}/retry/")
    assert page.status_code == 409
    assert "The prompt is blank." in page.content.decode()
    form = {"action": "retry_failed", "_selected_action": [old.pk]}
    answer = client_of(admin).post("/admin/generation/generationrequest/", form, follow=True)

    assert "1 not sent: The prompt is blank." in answer.content.decode()
    old.refresh_from_db()
    assert old.status == "failed"
