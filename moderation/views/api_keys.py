"""Pages about API keys: one's own at ``/keys/``, all of them for operators at ``/team/keys/``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.template.defaultfilters import pluralize
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from generation.core.recent_login import requires_recent_login
from generation.models import ApiKey
from moderation.forms.api_keys import ApiKeyForm, RotationForm
from moderation.presenters import api_keys as presenter
from moderation.services import api_keys, team
from moderation.services.api_keys import ApiKeyError
from moderation.views.access import DeskRequest, SeeOther

hold = permission_required(api_keys.HOLD, raise_exception=True)


@require_http_methods(["GET", "HEAD", "POST"])
@hold
@requires_recent_login()
@sensitive_variables("text")
def key_list(request: DeskRequest) -> HttpResponse:
    """Show one's own keys; create one and show its text in this response only."""
    if request.method != "POST":
        return _render(request, ApiKeyForm())
    form = ApiKeyForm(request.POST)
    if not form.is_valid():
        return _render(request, form, status=422)
    try:
        key, text = api_keys.create(owner=request.user, **form.key_fields)
    except ApiKeyError as error:
        form.add_error(None, str(error))
        return _render(request, form, status=409)
    return _render(request, ApiKeyForm(), made=key, text=text, is_new=True)


def _render(
    request: DeskRequest, form: ApiKeyForm, *, status: int = 200, **extra: Any
) -> HttpResponse:
    chosen = request.POST.getlist("scopes") if form.is_bound else ["generate", "read"]
    context = presenter.build_own(request.user) | {"form": form, "chosen": chosen} | extra
    response = render(request, "moderation/key_list.html", context, status=status)
    if extra:
        add_never_cache_headers(response)
    return response


@require_POST
@hold
@requires_recent_login()
@sensitive_variables("text")
def key_rotate(request: DeskRequest, uuid: UUID) -> HttpResponse:
    """Replace the text of one's own key and show the new one in this response only."""
    key = get_object_or_404(ApiKey.objects.usable(), uuid=uuid, owner=request.user)
    form = RotationForm(request.POST)
    if not form.is_valid():
        problem = "Choose how long the old key still works."
        return _render(request, ApiKeyForm(), status=422, problem=problem)
    text = api_keys.rotate(actor=request.user, key=key, grace=form.duration)
    return _render(request, ApiKeyForm(), made=key, text=text)


@require_POST
@hold
def key_revoke(request: DeskRequest, uuid: UUID) -> HttpResponse:
    key = get_object_or_404(ApiKey, uuid=uuid, owner=request.user)
    return _revoke(request, key, "moderation:key-list")


@require_safe
@permission_required("generation.view_apikey", raise_exception=True)
def api_key_list(request: DeskRequest) -> HttpResponse:
    context = presenter.build_all(request.user, before=request.GET.get("before", ""))
    return render(request, "moderation/api_key_list.html", context)


@require_POST
@permission_required("generation.change_apikey", raise_exception=True)
def api_key_revoke(request: DeskRequest, uuid: UUID) -> HttpResponse:
    return _revoke(request, get_object_or_404(ApiKey, uuid=uuid), "moderation:api-key-list")


@require_POST
@permission_required((team.MANAGE, "generation.change_apikey"), raise_exception=True)
def person_keys_revoke(request: DeskRequest, pk: int) -> HttpResponse:
    """Revoke all keys of a person, for example after a role was taken away."""
    person = get_object_or_404(User, pk=pk)
    revoked = api_keys.revoke_all(actor=request.user, owner=person)
    name = person.get_username()
    messages.success(
        request,
        f"{revoked} API key{pluralize(revoked)} of {name} revoked. Calls with"
        f" {'it' if revoked == 1 else 'them'} are refused."
        if revoked
        else f"{name} has no API key to revoke.",
    )
    return SeeOther(reverse("moderation:person-detail", args=[person.pk]))


def _revoke(request: DeskRequest, key: ApiKey, back: str) -> HttpResponse:
    is_done = api_keys.revoke(actor=request.user, key=key)
    state = "is revoked. Calls with it are refused" if is_done else "was revoked before"
    messages.success(request, f"The key “{key.name}” {state}.")
    return SeeOther(reverse(back))
