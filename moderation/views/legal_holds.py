"""Pages of legal holds: their list, and places where they are put on images."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST

from generation.models import Asset
from moderation.forms.retention import HoldForm, ReasonForm
from moderation.models import LegalHold
from moderation.presenters import retention as presenter
from moderation.search import SearchForm, list_all
from moderation.services import legal_holds
from moderation.services.legal_holds import LegalHoldError, Placed
from moderation.views.access import DeskRequest, SeeOther

SEARCH = ("moderation.view_review", "generation.view_generationrequest")


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("moderation.view_legalhold", raise_exception=True)
def legal_hold_list(request: DeskRequest) -> HttpResponse:
    """Show the holds; a POST places one on a request or an end user."""
    if request.method != "POST":
        return _render_list(request, HoldForm())
    if not request.user.has_perm(legal_holds.PLACE):
        raise PermissionDenied
    form = HoldForm(request.POST)
    if not form.is_valid():
        return _render_list(request, form, status=422)
    target, reason = form.cleaned_data["target"], form.cleaned_data["reason"]
    found = form.find_request()
    try:
        if found is not None:
            placed = legal_holds.place_on_request(request=found, reason=reason, user=request.user)
        else:
            placed = legal_holds.place_on_end_user(
                end_user=target, reason=reason, user=request.user
            )
    except LegalHoldError as error:
        form.add_error(None, str(error))
        return _render_list(request, form, status=422)
    _tell(request, placed)
    return SeeOther(reverse("moderation:legal-hold-list"))


def _render_list(request: DeskRequest, form: HoldForm, *, status: int = 200) -> HttpResponse:
    context = presenter.build_holds(request.user) | {"form": form}
    return render(request, "moderation/legal_hold_list.html", context, status=status)


def _tell(request: DeskRequest, placed: Placed) -> None:
    count = "1 image" if placed.images == 1 else f"{placed.images:,} images"
    gone = f" {placed.gone:,} were removed before." if placed.gone else ""
    messages.success(request, f"On legal hold: {placed.hold.about}, {count} now.{gone}")


@require_POST
@permission_required(legal_holds.PLACE, raise_exception=True)
def asset_hold(request: DeskRequest, uuid: UUID) -> HttpResponse:
    """Hold one image."""
    asset = get_object_or_404(Asset.objects.visible_to(request.user), uuid=uuid)
    dossier = reverse("moderation:asset-detail", args=[uuid])
    form = ReasonForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Write a reason for the hold.")
        return SeeOther(dossier)
    placed = legal_holds.place_on_images(
        assets=[asset.pk],
        about=f"Image {asset.short_id}",
        reason=form.cleaned_data["reason"],
        user=request.user,
    )
    _tell(request, placed)
    return SeeOther(dossier)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required((legal_holds.PLACE, *SEARCH), raise_exception=True)
def legal_hold_create(request: DeskRequest) -> HttpResponse:
    """Show how many images a search finds; a POST holds them all."""
    query = request.POST.get("search", "") if request.method == "POST" else request.GET.urlencode()
    search = SearchForm(QueryDict(query))
    form = ReasonForm(request.POST if request.method == "POST" else None)
    context = {"search": search, "query": query, "form": form}
    template = "moderation/legal_hold_new.html"
    try:
        if not search.is_valid() or not search.given:
            raise LegalHoldError("Search first, and hold what the search finds.")
        found = list_all(search, limit=legal_holds.IMAGES_MAX + 1)
        context["count"] = len(found)
        if request.method != "POST" or not form.is_valid():
            status = 422 if request.method == "POST" else 200
            return render(request, template, context, status=status)
        placed = legal_holds.place_on_images(
            assets=found,
            about=f"Search: {query}",
            reason=form.cleaned_data["reason"],
            user=request.user,
        )
    except ValueError as error:
        return render(request, template, context | {"problem": str(error)}, status=422)
    _tell(request, placed)
    return SeeOther(reverse("moderation:legal-hold-list"))


@require_POST
@permission_required(legal_holds.LIFT, raise_exception=True)
def legal_hold_lift(request: DeskRequest, uuid: UUID) -> HttpResponse:
    hold = get_object_or_404(LegalHold, uuid=uuid)
    form = ReasonForm(request.POST)
    back = request.POST.get("back", "")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts=None):
        back = reverse("moderation:legal-hold-list")
    try:
        if not form.is_valid():
            raise LegalHoldError("Write a reason for the lift.")
        legal_holds.lift(hold=hold, reason=form.cleaned_data["reason"], user=request.user)
    except LegalHoldError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"Lifted: {hold.about}. The rules apply to its images again.")
    return SeeOther(back)
