"""The page Developers: one's API keys, their calls and events, and examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast
from uuid import UUID

from django.conf import settings
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_POST, require_safe

from generation.core.recent_login import requires_recent_login
from generation.models import ApiCall, ApiKey, GenerationRequest
from moderation.api.webhooks import tester
from moderation.forms.webhooks import WebhookTestForm
from moderation.models import Delivery
from moderation.presenters import developer_examples

if TYPE_CHECKING:
    from django.contrib.auth.models import User

CALLS_SHOWN = 50
EVENTS_SHOWN = 10
TEST_PAUSE = 10  # seconds


@require_safe
def developers(request: HttpRequest) -> HttpResponse:
    return _render_page(request)


@require_POST
@requires_recent_login()
@sensitive_variables()
def rotate_webhook_secret(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Replace the webhook secret of one's own key and show it in this response only."""
    key = get_object_or_404(ApiKey.objects.usable(), uuid=uuid, owner=cast("User", request.user))
    return _render_page(request, rotated=key, secret=key.rotate_webhook_secret())


@require_POST
@sensitive_variables()
def test_webhook(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Send a signed test event of one's own key, and show request and response."""
    user = cast("User", request.user)
    key = get_object_or_404(ApiKey.objects.usable(), uuid=uuid, owner=user)
    form = WebhookTestForm(request.POST)
    if not form.is_valid():
        return _render_page(request, tested=key, test_form=form, status=422)
    # One test in TEST_PAUSE, so that the page is no tool to flood an address.
    is_first = caches["figures"].add(f"webhook-test:{user.pk}", 1, TEST_PAUSE)
    if not is_first or not key.take_call(timezone.now()):
        form.add_error("url", f"Wait {TEST_PAUSE} seconds between two tests.")
        return _render_page(request, tested=key, test_form=form, status=429)
    result = tester.send_test(key=key, url=form.cleaned_data["url"])
    return _render_page(request, tested=key, test_form=form, test_result=result)


def _render_page(
    request: HttpRequest,
    *,
    rotated: ApiKey | None = None,
    secret: str = "",
    tested: ApiKey | None = None,
    test_form: WebhookTestForm | None = None,
    test_result: tester.TestResult | None = None,
    status: int = 200,
) -> HttpResponse:
    user = cast("User", request.user)
    keys = ApiKey.objects.filter(owner=user).order_by("revoked_at", "-created_at")
    calls = (
        ApiCall.objects.filter(key__owner=user).select_related("key").order_by("-created_at", "-pk")
    )
    deliveries = (
        Delivery.objects.filter(request__api_key__owner=user)
        .select_related("request")
        .order_by("-pk")
    )
    usable = set(ApiKey.objects.usable().filter(owner=user).values_list("pk", flat=True))
    context = {
        "keys": [(key, key.pk in usable) for key in keys],
        "has_usable_key": bool(usable),
        "rotated": rotated,
        "secret": secret,
        "tested": tested,
        "test_form": test_form or WebhookTestForm(),
        "test_result": test_result,
        "calls": calls[:CALLS_SHOWN],
        "deliveries": deliveries[:EVENTS_SHOWN],
        "make_key": developer_examples.make_key(user.get_username()),
        "formats": _build_examples(settings.PUBLIC_URL, _find_model(user)),
    }
    response = render(request, "moderation/developers.html", context, status=status)
    if secret:
        add_never_cache_headers(response)
    return response


def _build_examples(url: str, model: str) -> list[tuple[str, list[developer_examples.Example]]]:
    return [
        (
            "Generate, as Novita",
            [
                developer_examples.generate_with_curl(url, model),
                developer_examples.generate_with_python(url, model),
            ],
        ),
        (
            "Classify, as nano-gpt",
            [
                developer_examples.classify_with_curl(url),
                developer_examples.classify_with_python(url),
                developer_examples.classify_with_javascript(url),
            ],
        ),
        (
            "List moderated images, as Scenario",
            [developer_examples.list_with_curl(url), developer_examples.list_with_python(url)],
        ),
    ]


def _find_model(user: User) -> str:
    """Return a model that has worked for this user, for the examples. Asks no provider."""
    rows = GenerationRequest.objects.visible_to(user).filter(
        status=GenerationRequest.Status.SUCCEEDED
    )
    done = rows.order_by("-created_at")
    return done.values_list("model_name", flat=True).first() or "sd_xl_base_1.0.safetensors"
