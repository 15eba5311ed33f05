"""Pages about golden images. No page shows one person's answers to another."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from generation.wire.parsing import parse_integer
from moderation.forms.decisions import NOTE_MAX
from moderation.models import GoldenImage
from moderation.presenters import golden_images as presenter
from moderation.services import golden_images
from moderation.services.golden_images import GoldenImageError
from moderation.views.access import DeskRequest, SeeOther, get_review_for


@require_safe
@permission_required(golden_images.VIEW, raise_exception=True)
def golden_image_list(request: DeskRequest) -> HttpResponse:
    before = parse_integer(request.GET.get("before", ""))
    context = presenter.build_list(request.user, before=before)
    return render(request, "moderation/golden_image_list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required(golden_images.MARK, raise_exception=True)
def golden_image_create(request: DeskRequest, uuid: UUID) -> HttpResponse:
    """Show a settled image with its decision; a POST makes it golden."""
    review = get_review_for(request.user, uuid, for_screen=True)
    if review.is_blind_to(request.user):  # the page would tell the first decision
        raise PermissionDenied
    context = presenter.build_marking(review, request.user)
    if request.method != "POST":
        return render(request, "moderation/golden_image_new.html", context)
    explanation = request.POST.get("explanation", "").replace("\0", "")[:NOTE_MAX]
    try:
        golden_images.mark(review=review, user=request.user, explanation=explanation)
    except GoldenImageError as error:
        context |= {"problem": str(error), "explanation": explanation}
        return render(request, "moderation/golden_image_new.html", context, status=409)
    messages.success(request, f"Image {review.asset.short_id} is golden now.")
    return SeeOther(reverse("moderation:golden-image-list"))


@require_POST
@permission_required(golden_images.RETIRE, raise_exception=True)
def golden_image_retire(request: DeskRequest, uuid: UUID) -> HttpResponse:
    rows = GoldenImage.objects.select_related("review__asset")
    golden_image = get_object_or_404(rows, uuid=uuid)
    golden_images.retire(golden_image=golden_image, user=request.user)
    messages.success(request, f"Image {golden_image.review.asset.short_id} is retired.")
    return SeeOther(reverse("moderation:golden-image-list"))


@require_safe
def golden_answer_list(request: DeskRequest) -> HttpResponse:
    """Show the user's own answers. No page shows somebody else's."""
    context = presenter.build_own_results(request.user)
    return render(request, "moderation/golden_answer_list.html", context)
