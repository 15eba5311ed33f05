"""Personal pages: preferences, exposure, breaks."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from moderation import taxonomy
from moderation.forms.preferences import PreferencesForm
from moderation.models import Preferences, Review
from moderation.presenters.exposure import load_exposure
from moderation.services import decisions, wellbeing
from moderation.views import panels
from moderation.views.access import (
    DeskRequest,
    SeeOther,
    find_queue_for,
    get_review_for,
    parse_uuids,
)

L1 = {category.slug: category for category in taxonomy.L1}


@require_http_methods(["GET", "HEAD", "POST"])
@login_not_required
def preferences(request: HttpRequest) -> HttpResponse:
    """Show and change preferences.

    A POST changes only the fields it sends. An anonymous POST, sent after a session has expired,
    changes nothing.
    """
    if request.method == "POST":
        return _save_preferences(request)
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    return _render_preferences(request)


def _save_preferences(request: HttpRequest) -> HttpResponse:
    if not request.user.is_authenticated:
        return SeeOther(_read_next_url(request, "home"))
    form = PreferencesForm(Preferences.for_user(request.user), request.POST.dict())
    if not form.is_valid():
        return _render_preferences(request, form)
    if form.changed_data:
        wellbeing.save_preferences(
            user=request.user, fields=form.changed_fields(), covers=form.changed_covers()
        )
    if getattr(request, "htmx", False):
        return HttpResponse(status=204)
    if "next" not in request.POST:
        messages.success(request, "Saved.")
    return SeeOther(_read_next_url(request, "home" if "next" in request.POST else "preferences"))


def _read_next_url(request: HttpRequest, otherwise: str) -> str:
    back = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(
        back, {request.get_host()}, require_https=request.is_secure()
    )
    return back if is_ours else resolve_url(otherwise)


def _render_preferences(
    request: HttpRequest, form: PreferencesForm | None = None, problem: str = ""
) -> HttpResponse:
    stored = Preferences.for_user(request.user)
    avoided = set(stored.avoided_today())
    problems = [str(error) for errors in form.errors.values() for error in errors] if form else []
    context: dict[str, Any] = {
        "form": form or PreferencesForm(stored),
        "avoidable": [(category, category.slug in avoided) for category in taxonomy.L1],
        "problems": [*problems, *filter(None, [problem])],
    }
    return render(
        request, "moderation/preferences.html", context, status=422 if context["problems"] else 200
    )


@require_POST
def avoid_category(request: DeskRequest) -> HttpResponse:
    """Skip a category today, or stop skipping it with ``avoid=off``.

    From the desk, go on to the next image.
    """
    category, wish = L1.get(request.POST.get("category", "")), request.POST.get("avoid", "on")
    if category is None or wish not in ("on", "off"):
        return _render_preferences(request, problem="Choose one of the ten categories.")
    for uuid in parse_uuids(request.POST.getlist("review")[:1]):
        decisions.skip(review=get_review_for(request.user, uuid), user=request.user)
    wellbeing.set_avoided(user=request.user, l1=category.slug, wanted=wish == "on")
    queue = find_queue_for(request.user, request.POST)
    if not panels.is_deck(request):
        until = (
            "is not offered to you until midnight UTC; others get it"
            if wish == "on"
            else "is offered to you again"
        )
        messages.info(request, f"{category.name} {until}.")
    return (
        panels.show_next(request, queue)
        if queue
        else panels.redirect_to(request, _read_next_url(request, "preferences"))
    )


@require_GET
def exposure(request: DeskRequest) -> HttpResponse:
    """Return the exposure part to htmx; redirect other requests to the home page."""
    if not request.htmx:
        return SeeOther(resolve_url("home"))
    return _render_exposure(request)


@require_POST
def postpone_break(request: DeskRequest) -> HttpResponse:
    """Suggest no break for the next 60 minutes."""
    wellbeing.postpone_break(user=request.user)
    return (
        _render_exposure(request, dismissed=True)
        if request.htmx
        else SeeOther(_read_next_url(request, "home"))
    )


def _render_exposure(request: DeskRequest, *, dismissed: bool = False) -> HttpResponse:
    """Return the exposure part, or only the suggestion of a break where no sidebar is shown."""
    context = {"exposure": load_exposure(request.user), "polls": True, "dismissed": dismissed}
    if request.htmx.target != "break":
        return render(request, "moderation/_exposure.html", context)
    queue = find_queue_for(request.user, request.POST or request.GET)
    back = queue.get_absolute_url() if queue else resolve_url("home")
    return render(request, "moderation/_break.html", {**context, "queue": queue, "back": back})


@require_http_methods(["GET", "HEAD", "POST"])
def take_break(request: DeskRequest) -> HttpResponse:
    """Show the break page; a POST from the button releases the user's claims first."""
    if request.method == "POST":
        wellbeing.start_break(user=request.user)
        queue = find_queue_for(request.user, request.POST)
        url = resolve_url("moderation:rest")
        return panels.redirect_to(request, f"{url}?queue={queue.slug}" if queue else url)
    context = {
        "queue": find_queue_for(request.user, request.GET),
        "holds_images": Review.objects.held_by(request.user).exists(),
    }
    return render(request, "moderation/rest.html", context)
