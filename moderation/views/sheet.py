"""The contact sheet. Every bulk decision is previewed with its count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.template.defaultfilters import pluralize
from django.views.decorators.http import require_http_methods, require_POST
from django_htmx.http import replace_url, reswap, retarget

from generation.core.htmx import respond
from moderation import taxonomy
from moderation.forms.decisions import NOTE_MAX
from moderation.models import Preferences, Review, Verdict
from moderation.models.decisions import describe_verdict
from moderation.presenters import bulk
from moderation.presenters.batches import load_batch
from moderation.presenters.bulk import SheetOptions
from moderation.presenters.exposure import load_exposure
from moderation.queues import Queue
from moderation.services import batches, bulk_claims, decisions
from moderation.views import skips, verdicts
from moderation.views.access import DeskRequest, SeeOther, get_queue_for, parse_uuids
from moderation.views.panels import STATUS_OF, redirect_to
from moderation.views.verdicts import ParsedVerdict

ACT = "moderation/_sheet_act.html"
PREVIEW = "moderation/_sheet_preview.html"


@require_http_methods(["GET", "HEAD", "POST"])
def sheet(request: DeskRequest, slug: str) -> HttpResponse:
    """Show the claimed reviews of the queue; on POST, renew them and claim up to a full sheet."""
    queue = get_queue_for(request.user, slug, request.GET)
    if request.method != "POST":
        return render_sheet(request, SheetOptions.read(queue, request.GET))
    if "again" in request.POST:
        skips.clear_skipped(request, queue)
    return _claim_and_show(request, SheetOptions.read(queue, request.GET))


@require_POST
def sheet_return(request: DeskRequest, slug: str) -> HttpResponse:
    """Release the rest of the sheet; with ``next``, skip it and claim another sheet."""
    queue = get_queue_for(request.user, slug, request.GET)
    back = bulk_claims.release(
        user=request.user, queue=queue, uuids=parse_uuids(request.POST.getlist("shown"))
    )
    if "next" in request.POST:
        skips.add_skipped(request, queue, *back)
        return _claim_and_show(request, SheetOptions.read(queue, request.GET))
    if back:
        messages.info(request, f"Gave {len(back)} image{pluralize(len(back))} back.")
    return redirect_to(request, queue.get_absolute_url())


@require_POST
def sheet_decide(request: DeskRequest, slug: str) -> HttpResponse:
    """Preview a bulk decision (``step=preview``) or make it (``step=confirm``)."""
    options = SheetOptions.read(get_queue_for(request.user, slug, request.GET), request.GET)
    step = request.POST.get("step", "preview")
    try:
        if step == "back":
            return _render_part(request, options, ACT)
        return _confirm(request, options) if step == "confirm" else _preview(request, options)
    except decisions.DecisionError as error:
        return _render_error(request, options, error)


def _preview(request: DeskRequest, options: SheetOptions) -> HttpResponse:
    data, the_rest = request.POST.copy(), "rest" in request.POST
    if the_rest:
        data["verdict"] = data.get("rest", "")
    # The reason for an escalation is entered in the preview.
    _parse_verdict(data, wants_reason=False)
    marked = bulk.select_marked(
        user=request.user,
        options=options,
        shown=set(parse_uuids(data.getlist("shown"))),
        chosen=set(parse_uuids(data.getlist("tile"))),
        the_rest=the_rest,
    )
    if not marked.reviews:
        raise decisions.InvalidDecisionError(marked.left_out or "Select at least one image.")
    about = _build_preview(request, options, marked.reviews, data.get("verdict", ""))
    return _render_part(request, options, PREVIEW, **about, left_out=marked.left_out)


def _confirm(request: DeskRequest, options: SheetOptions) -> HttpResponse:
    given = _parse_verdict(request.POST)
    outcome = batches.decide_many(
        reviews=_load_previewed(request, options.queue),
        user=request.user,
        verdict=given["verdict"],
        is_blurred=given["is_blurred"],
        categories=given["categories"],
        note=given["note"],
        batch=_parse_batch_uuid(request),
    )
    done = describe_verdict(given["verdict"], is_blurred=given["is_blurred"])
    return render_outcome(request, options, outcome, done.capitalize())


def _parse_verdict(data: QueryDict, *, wants_reason: bool = True) -> ParsedVerdict:
    given = verdicts.parse_verdict(data, wants_reason=wants_reason)
    decisions.check_categories(
        given["verdict"], given["categories"], is_blurred=given["is_blurred"]
    )
    return given


def _parse_batch_uuid(request: DeskRequest) -> UUID | None:
    return next(iter(parse_uuids(request.POST.getlist("batch"))), None)


def _load_previewed(request: DeskRequest, queue: Queue) -> list[Review]:
    """Return the previewed reviews, without those that the user holds through another queue."""
    rows = Review.objects.filter(
        uuid__in=parse_uuids(request.POST.getlist("review"))[: batches.LIMIT + 1]
    )
    here = {review.pk for review in bulk_claims.list_sheet(user=request.user, queue=queue)}
    return [review for review in rows if review.pk in here or not review.is_held_by(request.user)]


def render_outcome(
    request: DeskRequest, options: SheetOptions, outcome: batches.Outcome, verb: str
) -> HttpResponse:
    """Return the current sheet with what was done and left out."""
    count = len(outcome.done)
    message = f"{verb} {count} image{pluralize(count)}."
    messages.info(request, " ".join(filter(None, (message, outcome.message))))
    if count:
        options = replace(options, batch=outcome.batch)
    if count and not request.htmx:
        return SeeOther(options.address)
    return render_sheet(request, options, status=200 if count else 409, problem=outcome.message)


def _claim_and_show(request: DeskRequest, options: SheetOptions) -> HttpResponse:
    avoided = Preferences.for_user(request.user).avoided_today()
    queue, skipped = options.queue, skips.get_skipped(request, options.queue)
    if not bulk_claims.fill_sheet(user=request.user, queue=queue, skipped=skipped, avoided=avoided):
        messages.info(request, f"Nothing is left for you in “{queue.name}”.")
        return redirect_to(request, queue.get_absolute_url())
    return render_sheet(request, options) if request.htmx else SeeOther(options.address)


# --- Rendering ---


def render_sheet(
    request: DeskRequest, options: SheetOptions, *, status: int = 200, **extra: Any
) -> HttpResponse:
    """Return the whole sheet."""
    context = _build_context(request, options, **extra)
    response = respond(
        request, "moderation/sheet.html", "moderation/_sheet.html", context, status=status
    )
    if not request.htmx:
        return response
    return replace_url(reswap(retarget(response, "#sheet"), "outerHTML"), options.address)


def _render_part(
    request: DeskRequest, options: SheetOptions, part: str, *, status: int = 200, **extra: Any
) -> HttpResponse:
    """Return the part beside the tiles; to htmx only that part, so that the tiles stay."""
    context = _build_context(
        request, options, **{"part": part, "chosen": request.POST.getlist("categories"), **extra}
    )
    if not request.htmx:
        return render(request, "moderation/sheet.html", context, status=status)
    return reswap(retarget(render(request, part, context, status=status), "#act"), "outerHTML")


def _render_error(
    request: DeskRequest, options: SheetOptions, error: decisions.DecisionError
) -> HttpResponse:
    """Return the step that failed, with the error."""
    status, problem = STATUS_OF[type(error)], str(error)
    given = request.POST.get("verdict", "")
    wanted = set(parse_uuids(request.POST.getlist("review")))
    here = [
        one
        for one in bulk_claims.list_sheet(user=request.user, queue=options.queue)
        if one.uuid in wanted
    ]
    if request.POST.get("step") == "confirm" and here and given in verdicts.NAMES:
        about = _build_preview(request, options, here, given)
        return _render_part(request, options, PREVIEW, status=status, problem=problem, **about)
    unnamed = given == Verdict.REJECT and not request.POST.getlist("categories")
    return _render_part(
        request, options, ACT, status=status, problem=problem, wants_categories=unnamed
    )


def _build_context(request: DeskRequest, options: SheetOptions, **extra: Any) -> dict[str, Any]:
    result = load_batch(user=request.user, uuid=options.batch) if options.batch else None
    marked = set(parse_uuids(request.POST.getlist("tile")))
    return {
        "part": ACT,
        "exposure": load_exposure(request.user),
        "result": result if result is not None and result.is_mine else None,
        **bulk.build_sheet(
            user=request.user,
            options=options,
            preferences=Preferences.for_user(request.user),
            marked=marked,
        ),
        **extra,
    }


def _build_preview(
    request: DeskRequest, options: SheetOptions, reviews: Sequence[Review], verdict: str
) -> dict[str, Any]:
    """Build the context of the preview, with the fields to send again.

    ``verdict`` is one of ``verdicts.NAMES``.
    """
    data = request.POST
    images = bulk.build_preview(
        reviews,
        options=options,
        preferences=Preferences.for_user(request.user),
        seen=set(parse_uuids(data.getlist("seen"))),
    )
    return {
        "verdict": verdict,
        "verdict_name": verdicts.NAMES[verdict],
        "images": images,
        "unseen": sum(not image["is_seen"] for image in images),
        "category_names": taxonomy.join_names(sorted(set(data.getlist("categories"))))
        if verdict in (Verdict.REJECT, verdicts.BLUR)
        else "",
        "categories": data.getlist("categories"),
        "note": data.get("note", "")[:NOTE_MAX],
        "marked_tiles": data.getlist("tile"),
        "seen": data.getlist("seen"),
        "batch": _parse_batch_uuid(request) or uuid4(),
    }
