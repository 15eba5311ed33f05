"""Pages of generation requests: list, details, actions, form."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from generation import providers
from generation.core.htmx import respond
from generation.core.storage import StorageUnavailableError
from generation.forms.presets import PRESETS
from generation.forms.request_form import SIZES, RequestForm, picked
from generation.models import Asset, GenerationRequest, InvalidTransitionError, RemoteImage
from generation.services import model_catalog
from generation.services import requests as service
from generation.services.spending import SpendingLimitError
from generation.views import request_details
from generation.views import request_list as listing

if TYPE_CHECKING:
    from django.contrib.auth.models import User

log = logging.getLogger("loupe.views")
Status = GenerationRequest.Status


def get_request_for(user: Any, uuid: UUID) -> GenerationRequest:
    """Return a request by UUID; 404 if it is missing or the person may not see it."""
    rows = GenerationRequest.objects.visible_to(user).select_related("requested_by")
    return get_object_or_404(rows, uuid=uuid)


# --- The list ---


@require_safe
def request_list(request: HttpRequest) -> HttpResponse:
    filters = listing.Filters.read(request.GET)
    page = listing.read_page(user=request.user, filters=filters)
    context = {"page": page, "filters": filters, "choices": listing.CHOICES.items()}
    return respond(
        request, "generation/request_list.html", "generation/_request_rows.html", context
    )


# --- One request ---


@require_safe
def request_detail(request: HttpRequest, uuid: UUID) -> HttpResponse:
    return _render_panel(request, get_request_for(request.user, uuid))


def _render_panel(
    request: HttpRequest, item: GenerationRequest, *, problem: str = "", status: int = 200
) -> HttpResponse:
    context = {
        **_load_images(request, item),
        **_list_permitted_actions(cast("User", request.user), item),
        "item": item,
        "problem": problem,
    }
    context |= {
        "transitions": item.transitions.order_by("created_at", "pk"),
        "groups": request_details.group_facts(
            item, providers.list_labels().get(item.provider, item.provider)
        ),
        "raw": _describe_raw_answer(cast("User", request.user), item),
        "here": item.get_absolute_url() + ("?images=shown" if context["revealed"] else ""),
    }
    page, part = "generation/request_detail.html", "generation/_request_panel.html"
    return respond(request, page, part, context, status=status)


def _load_images(request: HttpRequest, item: GenerationRequest) -> dict[str, Any]:
    """Return the images with their reviews.

    Reviews belong to another app, so they are known here by relation name only.
    """
    assets = Asset.objects.visible_to(request.user).filter(request=item)
    # URLs of remote images are secret, so they are not loaded.
    remote = list(item.remote_images.defer("url").order_by("position"))
    waiting = [image.position + 1 for image in remote if image.status == RemoteImage.Status.WAITING]
    if item.is_open and not remote:
        waiting = list(range(1, item.image_num + 1))
    return {
        "assets": assets.select_related("review").order_by("position"),
        "missing": [image for image in remote if image.status == RemoteImage.Status.FAILED],
        "waiting": waiting,
        "revealed": request.GET.get("images") == "shown",
    }


def _describe_raw_answer(user: User, item: GenerationRequest) -> dict[str, str]:
    """Return the provider's last response, for those who resolve requests; {} for others.

    The page uses the digest as a key: an unchanged response stays unfolded after an htmx swap.
    """
    if not item.result or not (user.has_perm("generation.resolve_request")):
        return {}
    text = json.dumps(item.result, indent=2, ensure_ascii=False)
    return {
        "text": text,
        "digest": hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16],
    }


def _list_permitted_actions(user: User, item: GenerationRequest) -> dict[str, bool]:
    """Return the actions that this person may take in the current status."""
    resolves = user.has_perm("generation.resolve_request")
    return {
        "can_cancel": item.status == Status.QUEUED and _may_cancel(user, item),
        "can_retry": item.status == Status.FAILED and resolves,
        "can_resolve": item.status == Status.UNKNOWN and resolves,
    }


def _may_cancel(user: User, item: GenerationRequest) -> bool:
    mine = item.requested_by_id == user.pk and user.has_perm("generation.add_generationrequest")
    return mine or user.has_perm("generation.resolve_request")


@require_POST
def request_cancel(request: HttpRequest, uuid: UUID) -> HttpResponse:
    item = get_request_for(request.user, uuid)
    if not _may_cancel(cast("User", request.user), item):
        raise PermissionDenied("Only the requester or a senior moderator can cancel a request.")
    return _run_action(request, item, lambda: service.cancel_request(request=item))


@require_POST
@permission_required("generation.resolve_request", raise_exception=True)
def request_retry(request: HttpRequest, uuid: UUID) -> HttpResponse:
    item = get_request_for(request.user, uuid)
    return _run_action(request, item, lambda: service.retry_request(request=item))


@require_POST
@permission_required("generation.resolve_request", raise_exception=True)
def request_give_up(request: HttpRequest, uuid: UUID) -> HttpResponse:
    item = get_request_for(request.user, uuid)
    return _run_action(
        request,
        item,
        lambda: service.give_up_request(request=item, user=cast("User", request.user)),
    )


def _run_action(
    request: HttpRequest, item: GenerationRequest, act: Callable[[], object]
) -> HttpResponse:
    """Run an action and render the request; 409 with a message if its status has changed."""
    try:
        act()
    except service.BlankPromptError as error:
        return _render_panel(request, item, problem=str(error), status=409)
    except InvalidTransitionError:
        item.refresh_from_db()
        problem = (
            f"That is no longer possible: the request is {item.get_status_display().lower()} by"
            " now."
        )
        return _render_panel(request, item, problem=problem, status=409)
    return _render_panel(request, item) if getattr(request, "htmx", False) else redirect(item)


# --- A new request ---


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("generation.add_generationrequest", raise_exception=True)
def request_create(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        form, about = _make_form(request)
        if getattr(request, "htmx", False) and about["picked"]:
            return render(
                request, "generation/_field_picked.html", {"field": form[about["picked"]], **about}
            )
        return _render_form(request, form, about)
    form = RequestForm(request.POST)
    if not form.is_valid():
        return _render_form(request, form, status=422)
    try:
        item, is_new = service.create_request(
            user=cast("User", request.user),
            provider=form.cleaned_data["provider"],
            fields=form.request_fields,
            form_token=form.cleaned_data["form_token"],
        )
    except service.UnknownProviderError as error:
        form.add_error("provider", str(error))
        return _render_form(request, form, status=422)
    except SpendingLimitError as error:
        form.add_error(None, str(error))
        return _render_form(request, form, status=422)
    except StorageUnavailableError as error:
        form.add_error(None, f"{error} Your input is kept. Send it again then.")
        return _render_form(request, form, status=503)
    if not is_new:
        messages.info(request, "Already submitted; showing the existing request.")
    return redirect(item)


def _make_form(request: HttpRequest) -> tuple[RequestForm, dict[str, Any]]:
    """Return an empty form, or one filled from ``?from=``, ``?preset=`` and the model picker."""
    source, preset = _find_source(request), PRESETS.get(request.GET.get("preset", ""))
    if source:
        form = RequestForm.like(source)
    elif preset:
        form = RequestForm.from_preset(preset)
    else:
        form = RequestForm()
    chosen = picked(request.GET.dict())
    if request.GET.get("provider") in providers.list_labels():
        chosen["provider"] = request.GET["provider"]
    form.initial.update(chosen)
    field = request.GET.get("picked", "")
    if field in chosen:
        form.fields[field].widget.attrs["autofocus"] = True
    carried = {
        name: request.GET[name] for name in ("from", "preset", *chosen) if request.GET.get(name)
    }
    about = {"source": source, "preset": preset, "carried": urlencode(carried)}
    return form, {**about, "picked": field if field in chosen else ""}


def _find_source(request: HttpRequest) -> GenerationRequest | None:
    uuid = listing.parse_uuid(request.GET.get("from", ""))
    return (
        GenerationRequest.objects.visible_to(request.user).filter(uuid=uuid).first()
        if uuid
        else None
    )


def _render_form(
    request: HttpRequest,
    form: RequestForm,
    about: dict[str, Any] | None = None,
    *,
    status: int = 200,
) -> HttpResponse:
    chosen = form.chosen_provider
    models = model_catalog.suggest_checkpoints(chosen) if chosen else []
    if models and not form.is_bound:
        form.initial.setdefault("model_name", models[0][0])
    names = {name for name, _ in models}
    context = {
        "form": form,
        "models": models,
        "sizes": SIZES,
        "presets": PRESETS,
        "elsewhere": bool(
            about and about["preset"] and names and form.initial["model_name"] not in names
        ),
        **(about or {}),
    }
    return render(request, "generation/request_form.html", context, status=status)
