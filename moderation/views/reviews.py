"""One review at the desk. GET requests never write."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import reswap, retarget

from moderation.models import Preferences, Review
from moderation.models.reviews import CLAIM_LASTS
from moderation.presenters.panel import count_claim_seconds
from moderation.presenters.partials import render_hidden_fields, render_part
from moderation.services import claims, decisions
from moderation.views import skips, verdicts
from moderation.views.access import (
    DeskRequest,
    find_queue_for,
    get_review_for,
    get_review_ref,
    parse_timestamp,
    parse_uuids,
)
from moderation.views.panels import (
    claim_options,
    go_to_review,
    is_deck,
    read_submitted,
    render_deck,
    render_error,
    render_review,
    show_next,
)


@require_GET
def review_detail(request: DeskRequest, uuid: UUID) -> HttpResponse:
    review = get_review_for(request.user, uuid, for_screen=True)
    return render_review(request, review, find_queue_for(request.user, request.GET))


@require_POST
def review_claim(request: DeskRequest, uuid: UUID) -> HttpResponse:
    """Claim this review, or renew the claim while it is shown."""
    review = get_review_for(request.user, uuid)
    queue = find_queue_for(request.user, request.POST)
    try:
        review = decisions.claim(review=review, user=request.user)
    except decisions.DecisionError as error:
        response = render_error(request, review, queue, error)
        return reswap(retarget(response, "#panel"), "outerHTML")
    if request.htmx.target == "claim":
        context = {
            "review": review,
            "hidden": render_hidden_fields(request, queue),
            "claim_seconds": count_claim_seconds(review),
        }
        return HttpResponse(render_part("claim", context))
    return go_to_review(request, review, queue, **read_submitted(request))


@require_POST
def review_skip(request: DeskRequest, uuid: UUID) -> HttpResponse:
    review = get_review_for(request.user, uuid)
    queue = find_queue_for(request.user, request.POST)
    decisions.skip(review=review, user=request.user)
    if queue is None:
        messages.info(request, f"Skipped image {review.asset.short_id}.")
        return go_to_review(request, review, None)
    skips.add_skipped(request, queue, review)
    return show_next(request, queue)


@require_POST
def decision_create(request: DeskRequest, uuid: UUID) -> HttpResponse:
    review = get_review_ref(request.user, uuid)
    queue = find_queue_for(request.user, request.POST)
    try:
        given = verdicts.parse_verdict(request.POST)
        if queue is not None and is_deck(request):
            preferences = Preferences.for_user(request.user)
            claimed = decisions.decide_and_claim(
                review=review,
                user=request.user,
                **given,
                next_claims=claim_options(request, queue, preferences),
            )
            return render_deck(request, queue, preferences, claimed)
        decision = decisions.decide(review=review, user=request.user, **given)
    except Review.DoesNotExist as missing:
        raise Http404 from missing
    except decisions.DecisionError as error:
        return render_error(request, review, queue, error, **read_submitted(request))
    names = f" as {decision.category_names}" if decision.categories else ""
    messages.success(
        request,
        f"{decision.past_tense.capitalize()} image {decision.review.asset.short_id}{names}.",
    )
    return show_next(request, queue) if queue else go_to_review(request, decision.review, None)


@require_POST
def review_blur(request: DeskRequest, uuid: UUID) -> HttpResponse:
    """Deliver an approved image blurred (``blurred=1``) or unblurred."""
    review = get_review_for(request.user, uuid)
    queue = find_queue_for(request.user, request.POST)
    is_blurred = request.POST.get("blurred") == "1"
    try:
        decisions.change_blur(
            review=review,
            user=request.user,
            is_blurred=is_blurred,
            note=verdicts.parse_note(request.POST),
        )
    except decisions.DecisionError as error:
        return render_error(request, review, queue, error)
    form = "blurred" if is_blurred else "unblurred"
    messages.success(request, f"Image {review.asset.short_id} is delivered {form}.")
    return go_to_review(request, review, queue)


@require_POST
def claim_renewal(request: DeskRequest) -> JsonResponse:
    """Renew the claims of the deck (``have``).

    Returns the UUIDs that are still held, and the new end of their claims.
    """
    until = timezone.now() + CLAIM_LASTS
    held = claims.renew(
        user=request.user, uuids=parse_uuids(request.POST.getlist("have")), until=until
    )
    return JsonResponse(
        {
            "held": [str(uuid) for uuid in held],
            "seconds": int(CLAIM_LASTS.total_seconds()),
            "until": until.isoformat(),
        }
    )


@require_POST
def claim_release(request: DeskRequest) -> HttpResponse:
    """Release the deck's claims (``have``), and shorten those of shown images (``lingers``).

    Sent when a person leaves or stops working. A browser may send it late, after the next page has
    loaded: ``until`` distinguishes claims that the next page has renewed.
    """
    until = parse_timestamp(request.POST.get("until", ""))
    claims.release(user=request.user, uuids=parse_uuids(request.POST.getlist("have")), until=until)
    claims.shorten_leases(
        user=request.user, uuids=parse_uuids(request.POST.getlist("lingers")), until=until
    )
    return HttpResponse(status=204)
