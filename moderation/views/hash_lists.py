"""Pages of hash lists at the desk: add the hashes of a decided image, and remove entries."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from generation.wire.parsing import parse_integer
from moderation.models import HashEntry, HashList, Review
from moderation.presenters.hash_lists import build_hash_lists
from moderation.services import hash_lists
from moderation.views.access import DeskRequest, SeeOther, get_review_for


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("moderation.add_hashentry", raise_exception=True)
def hash_entries(request: DeskRequest, uuid: UUID) -> HttpResponse:
    """Show the entries that match an image; a POST adds its hashes to a list."""
    review = get_review_for(request.user, uuid, for_screen=True)
    if review.is_blind_to(request.user):  # the page would tell the first decision
        raise PermissionDenied
    if request.method != "POST":
        return _render(request, review)
    chosen = parse_integer(request.POST.get("list", ""))
    hash_list = HashList.objects.filter(pk=chosen, is_active=True).first() if chosen else None
    try:
        if hash_list is None:
            raise hash_lists.HashListError("Choose a list.")
        added = hash_lists.add_asset(
            review=review,
            hash_list=hash_list,
            user=request.user,
            algorithms=request.POST.getlist("algorithms"),
            category=request.POST.get("category", ""),
        )
    except hash_lists.HashListError as error:
        return _render(request, review, status=422, problem=str(error))
    count = len(added)
    messages.info(
        request,
        f"Added {count} hash{'' if count == 1 else 'es'} to “{hash_list}”."
        if count
        else f"“{hash_list}” has these hashes already.",
    )
    return SeeOther(reverse("moderation:hash-entry-list", args=[uuid]))


@require_POST
@permission_required("moderation.delete_hashentry", raise_exception=True)
def hash_entry_remove(request: DeskRequest, pk: int) -> HttpResponse:
    """Remove an entry, and return to the image's page."""
    entry = get_object_or_404(HashEntry.objects.select_related("hash_list"), pk=pk)
    try:
        review = get_review_for(request.user, UUID(request.POST.get("review", "")))
    except ValueError:
        raise Http404 from None
    hash_lists.remove_entry(entry=entry, user=request.user)
    messages.info(request, f"Removed from “{entry.hash_list}”.")
    return SeeOther(reverse("moderation:hash-entry-list", args=[review.uuid]))


def _render(
    request: DeskRequest, review: Review, *, status: int = 200, problem: str = ""
) -> HttpResponse:
    context = build_hash_lists(user=request.user, review=review)
    return render(
        request, "moderation/hash_entries.html", {**context, "problem": problem}, status=status
    )
