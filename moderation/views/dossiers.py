"""The dossier of an image, as a page and as JSON."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from generation.signals import TooManyViewsError
from moderation.models import AccessTrace, Review
from moderation.presenters.dossiers import build_dossier, build_json
from moderation.services import traces
from moderation.views.access import DeskRequest

NEEDED = ("generation.view_asset", "moderation.view_review", "moderation.view_decision")


@require_GET
def asset_detail(request: DeskRequest, uuid: UUID) -> HttpResponse:
    context = build_dossier(_get_review(request, uuid), request.user)
    return render(request, "moderation/asset_detail.html", context)


@require_GET
@permission_required("moderation.export_decision", raise_exception=True)
def asset_json(request: DeskRequest, uuid: UUID) -> HttpResponse:
    review = _get_review(request, uuid)
    try:
        traces.note_view(person=request.user, asset=review.asset, kind=AccessTrace.Kind.EVIDENCE)
    except TooManyViewsError as error:
        return JsonResponse({"error": str(error)}, status=429, headers={"Retry-After": "600"})
    document = build_json(review, request.user)
    return JsonResponse(document, json_dumps_params={"indent": 2, "ensure_ascii": False})


def _get_review(request: DeskRequest, uuid: UUID) -> Review:
    """Return the review of an asset that the user may view, or raise Http404."""
    rows = Review.objects.for_screen().select_related("asset__request__api_key")
    review = get_object_or_404(
        rows if request.user.has_perms(NEEDED) else rows.none(), asset__uuid=uuid
    )
    if review.is_golden_to(request.user):
        review.appear_waiting()
    return review
