"""The page Providers: permissions, status, costs and the button that checks a provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from generation import providers
from generation.models import Asset, GenerationRequest, ImportRun, ProviderState
from generation.providers.http import HttpProvider
from generation.services import health, rates, spending
from moderation.models import Classification
from moderation.services import costs

ClientOf = Callable[[User], Client]


@pytest.fixture(autouse=True)
def _clear_caches() -> Iterator[None]:
    cache.clear()
    providers.get_provider.cache_clear()
    yield
    cache.clear()
    providers.get_provider.cache_clear()


@pytest.fixture
def operator(client_of: ClientOf, senior: User) -> Client:
    return client_of(senior)


def fetch_page(client: Client) -> str:
    response = client.get(reverse("providers"))
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def test_providers_page_is_only_for_operators(
    client_of: ClientOf, moderator: User, senior: User, lead: User, auditor: User
) -> None:
    path, link = reverse("providers"), 'href="/providers/"'
    staff = User.objects.create_user("staff", is_staff=True)
    operator = User.objects.create_user("operator")
    operator.groups.add(Group.objects.get(name="operator"))
    for user, status in (
        (moderator, 403),
        (lead, 403),
        (auditor, 403),
        (senior, 200),
        (operator, 200),
        (staff, 403),
    ):
        client = client_of(user)
        assert client.get(path).status_code == status
        assert client.post(reverse("provider-check", args=["nowhere"])).status_code == (
            403 if status == 403 else 404
        )
        assert (link in client.get(reverse("home")).content.decode()) == (status == 200)
    assert Client().get(path).status_code == 302


def test_page_shows_sandboxes_and_disabled_providers_without_calls(
    operator: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(HttpProvider, "_send", lambda self, *args, **rest: calls.append(self.slug))
    text = fetch_page(operator)
    assert text.count(" Check the key<") == 3
    assert calls == [], "only the button calls"
    assert text.count(">Sandbox<") == 3
    assert "Add rekognition to CLASSIFIERS to use it." in text
    assert "127.0.0.1:8000" in text
    settings.IMAGE_PROVIDERS, settings.NANOGPT, settings.SCENARIO = {}, None, None
    settings.VLM = settings.REKOGNITION = settings.OPENAI = settings.HMA = None
    text = fetch_page(operator)
    assert text.count(" to turn it on.") == 7
    assert "Set VLM_MODEL to turn it on." in text
    assert "and name rekognition in CLASSIFIERS, to turn it on." in text
    assert "Set NOVITA_API_KEY to turn it on." in text
    assert "Check the key" not in text


def test_configured_provider_shows_host_but_not_key(operator: Client, settings: Any) -> None:
    settings.IMAGE_PROVIDERS = {
        "novita": {
            "BACKEND": "generation.providers.novita.client.Novita",
            "OPTIONS": {
                "api_key": "sk_canary_key",
                "base_url": "https://api.novita.ai",
                "label": "Novita",
            },
            "images_per_minute": 20,
        }
    }
    rates.take_tokens("novita", 8, per_minute=20)
    text = fetch_page(operator)
    assert ">Configured<" in text
    assert "api.novita.ai" in text
    assert "canary" not in text
    assert '<span class="num">20</span>, <span class="num">12</span> left now' in text
    rates.hold_provider("novita", timedelta(minutes=3), per_minute=20)
    assert "Paused until" in fetch_page(operator)


def test_images_and_costs_include_unknown_outcomes(
    operator: Client, make_request: Callable[..., GenerationRequest], settings: Any
) -> None:
    now, month = timezone.now(), spending.start_of_month()
    sent = {"submitted_at": now, "cost": Decimal("0.012"), "image_num": 4}
    make_request(**sent, status="processing", provider_task_id="a")
    lost = make_request(**sent, status="unknown", error="Lost.", prompt="where is it")
    make_request(
        **{**sent, "submitted_at": month, "created_at": month},
        status="processing",
        provider_task_id="b",
    )
    make_request(
        **{**sent, "submitted_at": month - timedelta(1)}, status="processing", provider_task_id="c"
    )
    make_request(status="queued")
    first_of_month = month == spending.start_of_day()
    text = fetch_page(operator)
    images, cost = (12, "0.0360") if first_of_month else (8, "0.0240")
    assert (
        f'<dt>Today</dt><dd><span class="num">{images}</span> images, <span'
        f' class="num">{cost}</span> USD' in text
    )
    assert (
        '<dt>This month</dt><dd><span class="num">12</span> images, <span'
        ' class="num">0.0360</span> USD' in text
    )
    for name, count in (("Queued", 1), ("Processing", 3), ("Unknown", 1)):
        assert f"<dt>{name}</dt><dd>{count}</dd>" in text
    assert f'href="{lost.get_absolute_url()}" dir="auto">where is it</a>' in text
    settings.SPENDING_LIMIT_PER_DAY = Decimal("0.02")
    assert "The limit is reached." in fetch_page(operator)


def test_classification_costs_are_counted_without_novita_twice(
    operator: Client, make_asset: Callable[..., Asset], settings: Any
) -> None:
    settings.CLASSIFIERS = []
    settings.NANOGPT = {
        "api_key": "sk_canary_key",
        "base_url": "https://nano-gpt.com",
        "label": "nano-gpt",
    }
    asset = make_asset()
    for slug, cost in (("nanogpt", "0.25"), ("novita", "0.5")):
        Classification.objects.create(
            asset=asset,
            classifier=slug,
            version="1",
            status="done",
            cost=Decimal(cost),
            finished_at=timezone.now(),
        )
    assert costs.sum_billed(spending.start_of_day()) == Decimal("0.25")
    assert spending.sum_spending(spending.start_of_day()) == Decimal("0.25")
    text = fetch_page(operator)
    assert '<span class="num">1</span> image, <span class="num">0.2500</span> USD' in text
    assert "nano-gpt.com" in text


@pytest.mark.parametrize("slug", ["nanogpt", "vlm"])
def test_sandbox_costs_are_not_billed(
    operator: Client, make_asset: Callable[..., Asset], settings: Any, slug: str
) -> None:
    settings.CLASSIFIERS = []
    Classification.objects.create(
        asset=make_asset(),
        classifier=slug,
        version="1",
        status="done",
        cost=Decimal("0.4065"),
        finished_at=timezone.now(),
    )
    text = fetch_page(operator)
    assert (
        '<dt>Today</dt><dd><span class="num">1</span> image, <span class="faint">not'
        " billed</span></dd>" in text
    )
    assert '<dt>Today</dt><dd><span class="num">0.0000</span> USD</dd>' in text
    assert "0.4065" not in text


def test_rekognition_costs_are_counted_and_openai_is_free(
    operator: Client, make_asset: Callable[..., Asset], settings: Any
) -> None:
    settings.CLASSIFIERS = []
    settings.REKOGNITION = {
        **settings.REKOGNITION,
        "base_url": "https://rekognition.eu-west-1.amazonaws.com",
        "label": "Rekognition",
    }
    settings.OPENAI = {
        "api_key": "sk_canary_key",
        "base_url": "https://api.openai.com/v1",
        "label": "OpenAI moderation",
    }
    asset = make_asset()
    for slug, cost in (("rekognition", "0.125"), ("openai", "0")):
        Classification.objects.create(
            asset=asset,
            classifier=slug,
            version="1",
            status="done",
            cost=Decimal(cost),
            finished_at=timezone.now(),
        )
    assert costs.sum_billed(spending.start_of_day()) == Decimal("0.125")
    text = fetch_page(operator)
    assert '<span class="num">1</span> image, <span class="num">0.1250</span> USD' in text
    assert "rekognition.eu-west-1.amazonaws.com" in text
    assert "api.openai.com" in text
    assert "canary" not in text


def test_today_and_providers_show_the_same_health(
    client_of: ClientOf, admin: User, make_asset: Callable[..., Asset], settings: Any
) -> None:
    settings.CLASSIFIERS = []
    client, asset, now = client_of(admin), make_asset(), timezone.now()
    settings.CLASSIFIERS = ["nanogpt"]

    def state_of(label: str) -> str:
        today = " ".join(client.get(reverse("home")).content.decode().split())
        return today.split(f"<dt>{label}</dt>")[1].split("</dd>")[0]

    assert "Not called yet" in state_of("nano-gpt (sandbox)")
    assert "Not called yet" in state_of("Scenario (sandbox)")
    Classification.objects.create(
        asset=asset, classifier="nanogpt", version="1", status="done", finished_at=now
    )
    ImportRun.objects.create(source="scenario", status="finished", finished_at=now)
    shown = f">{now.day} {now:%b %H:%M:%S}</time>"
    assert fetch_page(client).count(shown) == 2
    assert ">Works<" in state_of("nano-gpt (sandbox)")
    assert ">Works<" in state_of("Scenario (sandbox)")
    Classification.objects.create(
        asset=asset,
        classifier="nanogpt",
        version="2",
        status="failed",
        error="It timed out.",
        finished_at=now + timedelta(seconds=1),
    )
    assert "It timed out." in fetch_page(client)
    assert ">Failing<" in state_of("nano-gpt (sandbox)")
    assert "It timed out." in state_of("nano-gpt (sandbox)")


def test_last_import_error_is_shown(operator: Client) -> None:
    ImportRun.objects.create(
        source="scenario",
        status="failed",
        error="Scenario refused the key.",
        finished_at=timezone.now(),
    )
    assert "Scenario refused the key." in fetch_page(operator)


def test_last_error_is_shown_without_query_string(operator: Client) -> None:
    health.record_failure("novita-sandbox", "It broke at https://x.test/a?X-Amz-Signature=canary.")
    text = fetch_page(operator)
    assert "It broke at https://x.test/a" in text
    assert "canary" not in text


def test_vision_model_shows_host_costs_and_last_error_but_not_key(
    operator: Client, make_asset: Callable[..., Asset], settings: Any
) -> None:
    settings.CLASSIFIERS = []
    settings.VLM = {
        "api_key": "sk_canary_key",
        "base_url": "http://10.0.0.5:8000/v1",
        "label": "Vision model (10.0.0.5:8000)",
        "model": "qwen",
    }
    asset = make_asset()
    for version, status, error, cost in (
        ("1", "done", "", "0.0125"),
        ("2", "failed", "It broke off.", "0.0005"),
    ):
        Classification.objects.create(
            asset=asset,
            classifier="vlm",
            version=version,
            status=status,
            error=error,
            cost=Decimal(cost),
            finished_at=timezone.now(),
        )
    text = fetch_page(operator)
    assert "10.0.0.5:8000" in text
    assert '<span class="num">2</span> images, <span class="num">0.0130</span> USD' in text
    assert "It broke off." in text
    assert "canary" not in text


@pytest.mark.django_db(transaction=True)
def test_check_button_calls_provider_and_creates_no_request(
    operator: Client, live_server: Any, settings: Any
) -> None:
    here = live_server.url
    entry = settings.IMAGE_PROVIDERS["novita-sandbox"]
    entry = {**entry, "OPTIONS": {**entry["OPTIONS"], "base_url": f"{here}/sandbox/novita"}}
    settings.IMAGE_PROVIDERS = {"novita-sandbox": entry}
    settings.NANOGPT = {**settings.NANOGPT, "base_url": f"{here}/sandbox/nano-gpt"}
    settings.SCENARIO = {**settings.SCENARIO, "base_url": f"{here}/sandbox/scenario/v1"}
    settings.VLM = {**settings.VLM, "base_url": f"{here}/sandbox/vlm/v1"}
    settings.REKOGNITION = {**settings.REKOGNITION, "base_url": f"{here}/sandbox/rekognition"}
    settings.OPENAI = {**settings.OPENAI, "base_url": f"{here}/sandbox/openai/v1"}
    settings.HMA = {**settings.HMA, "base_url": f"{here}/sandbox/hma"}
    for slug, label in (
        ("novita-sandbox", "Novita"),
        ("nanogpt", "nano-gpt"),
        ("vlm", "Vision model"),
        ("rekognition", "Rekognition"),
        ("openai", "OpenAI moderation"),
        ("hma", "Hasher-Matcher-Actioner"),
        ("scenario", "Scenario"),
    ):
        response = operator.post(reverse("provider-check", args=[slug]), follow=True)
        assert f"{label} (sandbox) responds and accepts the key." in response.content.decode(), slug
        assert ProviderState.objects.get(slug=slug).last_success_at is not None

    entry["OPTIONS"]["api_key"] = "invalid"
    providers.get_provider.cache_clear()
    response = operator.post(reverse("provider-check", args=["novita-sandbox"]), follow=True)
    assert "The check of Novita (sandbox) failed." in response.content.decode()
    assert "the key is wrong" in ProviderState.objects.get(slug="novita-sandbox").last_error
    assert not GenerationRequest.objects.exists()


def test_request_above_spending_limit_returns_422(
    client_of: ClientOf,
    moderator: User,
    settings: Any,
    make_request: Callable[..., GenerationRequest],
) -> None:
    settings.IMAGE_PROVIDERS["novita-sandbox"]["image_price"] = Decimal("0.01")
    settings.SPENDING_LIMIT_PER_DAY = Decimal("0.02")
    try:
        make_request(status="unknown", error="?", cost=Decimal("0.02"), submitted_at=timezone.now())
        fields = {
            "provider": "novita-sandbox",
            "model_name": "m",
            "prompt": "p",
            "width": 512,
            "height": 512,
            "image_num": 1,
            "steps": 20,
            "guidance_scale": "7.5",
            "sampler_name": "Euler a",
            "response_image_type": "png",
            "nsfw_detection_level": 0,
            "form_token": "6f1c3f6e-1111-4222-8333-444455556666",
        }
        response = client_of(moderator).post(reverse("generation:request-create"), fields)
        assert response.status_code == 422
        assert "The spending limit of 0.02 USD per day is reached" in response.content.decode()
    finally:
        del settings.IMAGE_PROVIDERS["novita-sandbox"]["image_price"]
    assert GenerationRequest.objects.count() == 1
