"""The desk's pages. GET never writes: claims, skips, verdicts and reversals are all POSTs to the services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import HttpResponseClientRedirect, reswap, retarget

from generation.htmx import HtmxHttpRequest, respond
from moderation import queues
from moderation.exports import filter_decisions
from moderation.forms import NOTE_MAX, DecisionFilterForm, DecisionForm
from moderation.models import Decision, Preferences, Review, Verdict
from moderation.queues import Queue
from moderation.screen import claim_seconds, entries, review_screen, surround_after
from moderation.services import desk

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from moderation.models.reviews import ReviewQuerySet

SHEET_LENGTH = 60
RECORD_LENGTH = 50
SKIPS_KEPT = 200
STATUS_OF: dict[type[desk.DeskError], int] = {desk.NotAllowed: 403, desk.Overtaken: 409, desk.Incomplete: 422}


class DeskRequest(HtmxHttpRequest):
    """LoginRequiredMiddleware lets nobody else through."""

    user: User


class SeeOther(HttpResponseRedirect):
    """After a POST: read the result there."""

    status_code = 303


# --- Access: the only ways to an object ---


def get_review_for(user: User, uuid: UUID) -> Review:
    rows = Review.objects.select_related("asset__request__requested_by", "asset__stored_by", "claimed_by", "policy")
    return get_object_or_404(rows if user.has_perm("moderation.view_review") else rows.none(), uuid=uuid)


def get_decision_for(user: User, uuid: UUID) -> Decision:
    rows = Decision.objects.select_related("review", "reversed_by")
    return get_object_or_404(rows if user.has_perm("moderation.view_decision") else rows.none(), uuid=uuid)


def get_queue_for(user: User, slug: str) -> Queue:
    queue = queues.QUEUES.get(slug)
    if queue is None or not queue.is_open_to(user):
        raise Http404
    return queue


def _named_queue(user: User, data: QueryDict) -> Queue | None:
    """The queue that somebody is working through, as the page told; no queue for one that is not theirs."""
    queue = queues.QUEUES.get(data.get("queue", ""))
    return queue if queue is not None and queue.is_open_to(user) else None


# --- Queues ---


@require_GET
def queue_list(request: DeskRequest) -> HttpResponse:
    rows = [
        (queue, queues.bounded_count(queue.reviews(request.user)), _oldest(queue.reviews(request.user)))
        for queue in queues.for_user(request.user)
    ]
    return render(request, "moderation/queue_list.html", {"rows": rows})


def _oldest(rows: ReviewQuerySet) -> Review | None:
    """Ids follow arrival, so the lowest has waited longest."""
    return rows.order_by("pk").first()


@require_GET
def queue_detail(request: DeskRequest, slug: str) -> HttpResponse:
    queue = get_queue_for(request.user, slug)
    rows = queue.reviews(request.user)
    page, following = _sheet(rows, request.GET.get("after", ""))
    skips = _skips(request).get(queue.slug, [])
    context = {
        "queue": queue,
        "page": page,
        "following": following,
        "is_first": "after" not in request.GET,
        "count": queues.bounded_count(rows),
        "skipped": rows.filter(pk__in=skips).count() if skips else 0,
    }
    return respond(request, "moderation/queue_detail.html", "moderation/_queue.html", context)


def _sheet(rows: ReviewQuerySet, after: str) -> tuple[list[Review], str]:
    """One page in the order of work, and the key of the next page: no offset, so page 500 costs what page 1 does."""
    priority, _, pk = after.partition(".")
    if priority.isdecimal() and pk.isdecimal():
        # The first condition says nothing new; it lets the database seek in the index instead of walking to the page.
        rows = rows.filter(priority__lte=int(priority)).filter(Q(priority__lt=int(priority)) | Q(pk__gt=int(pk)))
    rows = rows.select_related("asset__request", "claimed_by").defer("asset__metadata", "asset__detection")
    found = list(rows.in_order()[: SHEET_LENGTH + 1])
    page = found[:SHEET_LENGTH]
    return page, f"{page[-1].priority}.{page[-1].pk}" if len(found) > SHEET_LENGTH else ""


@require_POST
def claim_next(request: DeskRequest, slug: str) -> HttpResponse:
    queue = get_queue_for(request.user, slug)
    if "again" in request.POST:
        _forget_skips(request, queue)
    return _go_on(request, queue)


# --- Reviews ---


@require_GET
def review_detail(request: DeskRequest, uuid: UUID) -> HttpResponse:
    review = get_review_for(request.user, uuid)
    return _show(request, review, _named_queue(request.user, request.GET))


@require_POST
def review_claim(request: DeskRequest, uuid: UUID) -> HttpResponse:
    """Take this very review, or renew the claim on it while working."""
    review = get_review_for(request.user, uuid)
    queue = _named_queue(request.user, request.POST)
    try:
        review = desk.claim(review=review, user=request.user)
    except desk.DeskError as error:
        response = _refuse(request, review, queue, error)
        return reswap(retarget(response, "#panel"), "outerHTML")
    if request.htmx.target == "claim":
        context = {"review": review, "queue": queue, "claim_seconds": claim_seconds(review)}
        return render(request, "moderation/_claim.html", context)
    return _arrive(request, review, queue, **_kept(request))


@require_POST
def review_skip(request: DeskRequest, uuid: UUID) -> HttpResponse:
    review = get_review_for(request.user, uuid)
    queue = _named_queue(request.user, request.POST)
    desk.skip(review=review, user=request.user)
    messages.info(request, f"Skipped image {review.asset.short_id}.")
    if queue is None:
        return _arrive(request, review, None)
    _remember_skip(request, queue, review)
    return _go_on(request, queue)


@require_POST
def decision_create(request: DeskRequest, uuid: UUID) -> HttpResponse:
    review = get_review_for(request.user, uuid)
    queue = _named_queue(request.user, request.POST)
    form = DecisionForm(request.POST)
    try:
        if not form.is_valid():
            raise desk.Incomplete(form.sentence)
        given = form.cleaned_data
        decision = desk.decide(
            review=review, user=request.user, verdict=Verdict(given["verdict"]), categories=given["categories"],
            note=given["note"], seconds=given["seconds"],
        )  # fmt: skip
    except desk.DeskError as error:
        return _refuse(request, review, queue, error, **_kept(request))
    names = f" as {decision.category_names}" if decision.categories else ""
    messages.success(request, f"{decision.past_tense.capitalize()} image {review.asset.short_id}{names}.")
    return _go_on(request, queue) if queue else _arrive(request, review, None)


@require_POST
def decision_reverse(request: DeskRequest, uuid: UUID) -> HttpResponse:
    decision = get_decision_for(request.user, uuid)
    return _reverse(request, decision)


@require_POST
def undo(request: DeskRequest) -> HttpResponse:
    """Reverse one's newest decision, and go back to its image."""
    decision = desk.last_reversible(user=request.user)
    if decision is not None:
        return _reverse(request, decision)
    sentence = "There is nothing of yours left to undo."
    try:
        review = get_review_for(request.user, UUID(request.POST.get("review", "")))
    except ValueError:
        messages.info(request, sentence)
        return _leave(request, reverse("home"))
    return _refuse(request, review, _named_queue(request.user, request.POST), desk.Overtaken(sentence))


def _reverse(request: DeskRequest, decision: Decision) -> HttpResponse:
    queue = _named_queue(request.user, request.POST)
    try:
        desk.reverse(decision=decision, user=request.user, note=request.POST.get("note", "")[:NOTE_MAX])
    except desk.DeskError as error:
        return _refuse(request, decision.review, queue, error)
    messages.info(request, f"Taken back: {decision.past_tense}. The image waits again, and you hold it.")
    return _arrive(request, decision.review, queue)


# --- Where an action ends ---


def _go_on(request: DeskRequest, queue: Queue) -> HttpResponse:
    """Claim and show the next image of the queue; its page, which says what now, when nothing is left."""
    skips = _skips(request).get(queue.slug, [])
    review = desk.claim_next(user=request.user, queue=queue, skipped=skips)
    if review is None:
        messages.info(request, f"Nothing is left for you in “{queue.name}”.")
        return _leave(request, reverse("moderation:queue-detail", args=[queue.slug]))
    return _arrive(request, review, queue)


def _arrive(request: DeskRequest, review: Review, queue: Queue | None, **extra: Any) -> HttpResponse:
    address = _address(review, queue)
    if not request.htmx:
        return SeeOther(address)
    # Read again: the panel shows what is stored now, not what the action started from.
    response = _show(request, get_review_for(request.user, review.uuid), queue, **extra)
    response["HX-Push-Url"] = address
    return response


def _leave(request: DeskRequest, address: str) -> HttpResponse:
    return HttpResponseClientRedirect(address) if request.htmx else SeeOther(address)


def _refuse(
    request: DeskRequest, review: Review, queue: Queue | None, error: desk.DeskError, **extra: Any
) -> HttpResponse:
    """A fresh panel that says what is so now, and why this was not done."""
    fresh = get_review_for(request.user, review.uuid)
    return _show(request, fresh, queue, status=STATUS_OF[type(error)], problem=str(error), **extra)


def _show(
    request: DeskRequest, review: Review, queue: Queue | None, *, status: int = 200, **extra: Any
) -> HttpResponse:
    preferences = Preferences.of(request.user)
    wish = request.GET.get("reveal", "")
    context = {
        "preferences": preferences,
        "revealed": wish == "1" or (wish != "0" and not preferences.blur),
        "next_surround": surround_after(preferences),
        "address": _address(review, queue),
        "chosen": [],
        **extra,
    }
    if request.htmx and request.htmx.target == "stage":
        stage = {"review": review, "asset": review.asset, "queue": queue, **context}
        return render(request, "moderation/_stage.html", stage)
    context |= review_screen(user=request.user, review=review, queue=queue)
    return respond(request, "moderation/review.html", "moderation/_review.html", context, status=status)


def _address(review: Review, queue: Queue | None) -> str:
    return f"{review.get_absolute_url()}?{urlencode({'queue': queue.slug})}" if queue else review.get_absolute_url()


def _kept(request: HttpRequest) -> dict[str, Any]:
    """What was chosen and written, so that a refusal loses nothing."""
    return {
        "chosen": request.POST.getlist("categories"),
        "note": request.POST.get("note", "")[:NOTE_MAX],
        "wants_categories": request.POST.get("verdict") == Verdict.REJECT,
    }


# --- Skips: kept in the session, per queue, the newest ones ---


def _skips(request: HttpRequest) -> dict[str, list[int]]:
    kept: dict[str, list[int]] = request.session.get("skips", {})
    return kept


def _remember_skip(request: HttpRequest, queue: Queue, review: Review) -> None:
    skips = _skips(request)
    others = [pk for pk in skips.get(queue.slug, []) if pk != review.pk]
    request.session["skips"] = {**skips, queue.slug: [*others, review.pk][-SKIPS_KEPT:]}


def _forget_skips(request: HttpRequest, queue: Queue) -> None:
    request.session["skips"] = {slug: pks for slug, pks in _skips(request).items() if slug != queue.slug}


# --- The record ---


@require_GET
@permission_required("moderation.view_decision", raise_exception=True)
def decision_list(request: DeskRequest) -> HttpResponse:
    """The record, newest first. Wrong filters show nothing rather than everything."""
    form = DecisionFilterForm(request.GET)
    rows = filter_decisions(form.cleaned_data) if form.is_valid() else Decision.objects.none()
    before = request.GET.get("before", "")
    if before.isdecimal():
        rows = rows.filter(sequence__lt=int(before))
    rows = rows.newest_first().select_related("reviewer", "policy", "reversed_by", "review__asset")
    found = list(rows[: RECORD_LENGTH + 1])
    page = entries(found[:RECORD_LENGTH], request.user)
    filters = urlencode([(name, value) for name, value in request.GET.items() if value and name in form.fields])
    context = {
        "form": form,
        "page": page,
        "filters": filters,
        "before": before,
        "older": page[-1].decision.sequence if len(found) > RECORD_LENGTH else None,
    }
    return render(request, "moderation/decision_list.html", context)
