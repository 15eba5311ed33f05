"""Pages of the record, and reversals."""

from __future__ import annotations

from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from generation.core.db import keyset
from generation.core.recent_login import requires_recent_login
from generation.wire.parsing import parse_integer
from moderation.forms.decisions import DecisionFilterForm
from moderation.forms.exports import EXPORTS
from moderation.models import Decision, Review
from moderation.presenters.exports import build_exports
from moderation.presenters.panel import build_history
from moderation.presenters.partials import render_hidden_fields
from moderation.presenters.record_ranges import build_ranges
from moderation.services import decisions, traces
from moderation.services.exports import parquet
from moderation.services.exports.filters import describe_errors, filter_decisions
from moderation.services.exports.formats import FORMATS, write_table
from moderation.views.access import DeskRequest, find_queue_for, get_decision_for, get_review_for
from moderation.views.panels import build_exit_url, go_to_review, is_deck, redirect_to, render_error
from moderation.views.verdicts import parse_note

RECORD_LENGTH = 50


@require_POST
def decision_reverse(request: DeskRequest, uuid: UUID) -> HttpResponse:
    decision = get_decision_for(request.user, uuid)
    return _reverse(request, decision)


@require_POST
def undo(request: DeskRequest) -> HttpResponse:
    """Reverse the user's newest decision and return to its image."""
    decision = decisions.find_undoable(user=request.user)
    if decision is not None:
        return _reverse(request, decision)
    message = "You have nothing left to undo."
    try:
        review = get_review_for(request.user, UUID(request.POST.get("review", "")))
    except ValueError:
        messages.info(request, message)
        return redirect_to(request, build_exit_url(find_queue_for(request.user, request.POST)))
    return render_error(
        request,
        review,
        find_queue_for(request.user, request.POST),
        decisions.ConflictError(message),
    )


def _reverse(request: DeskRequest, decision: Decision) -> HttpResponse:
    queue = find_queue_for(request.user, request.POST)
    try:
        decisions.reverse(decision=decision, user=request.user, note=parse_note(request.POST))
    except decisions.DecisionError as error:
        return render_error(request, decision.review, queue, error)
    if not is_deck(request):
        messages.info(
            request, f"Reversed: {decision.past_tense}. The image is open again, and you hold it."
        )
    return go_to_review(request, decision.review, queue)


@require_GET
@permission_required("moderation.view_decision", raise_exception=True)
def decision_list(request: DeskRequest) -> HttpResponse:
    """List the record, newest first. Invalid filters show nothing rather than everything."""
    form = DecisionFilterForm(request.GET, besides=("before",))
    rows = filter_decisions(form.cleaned_data) if form.is_valid() else Decision.objects.none()
    withheld = list(Review.objects.blind_to(request.user).values_list("pk", flat=True))
    if withheld:
        rows = rows.exclude(review__in=withheld)
    # Not counted on the page: that would tell that the image is golden.
    golden = list(Review.objects.golden_to(request.user).values_list("pk", flat=True))
    if golden:
        rows = rows.exclude(review__in=golden)
    before = parse_integer(request.GET.get("before", ""))
    if before is not None:
        rows = keyset.rows_after(rows, ("-sequence",), (before,))
    found, has_older = keyset.read_page(rows.newest_first().for_list(), RECORD_LENGTH)
    page = build_history(found, request.user)
    given = {
        name: str(value) for name, value in request.GET.items() if value and name in form.fields
    }
    context = {
        "form": form,
        "page": page,
        "hidden": render_hidden_fields(request, None),
        "filters": urlencode(given),
        "ranges": build_ranges(given, timezone.now().date()),
        "exports": build_exports(request.GET),
        "has_parquet": parquet.is_available(),
        "withheld": len(withheld),
        "before": "" if before is None else before,
        "older": page[-1].decision.sequence if has_older else None,
    }
    return render(request, "moderation/decision_list.html", context)


@require_GET
@permission_required("moderation.export_decision", raise_exception=True)
@requires_recent_login(is_download=True)
def export(
    request: DeskRequest, kind: str, file_format: str
) -> StreamingHttpResponse | HttpResponse:
    """Return the filtered decisions or images as a file.

    An unknown filter or value is an error: ignoring it would export more than intended.
    """
    form = EXPORTS[kind].form(request.GET)
    if not form.is_valid():
        return _answer_in_text(describe_errors(form), status=400)
    try:
        chunks = write_table(EXPORTS[kind].build_table(form.cleaned_data), file_format)
    except parquet.ParquetMissingError as error:
        return _answer_in_text(str(error), status=501)
    try:
        start = traces.start_export(
            person=request.user, kind=kind, file_format=file_format, filters=request.GET.dict()
        )
    except traces.ExportLimitError as error:
        refused = _answer_in_text(str(error), status=429)
        refused["Retry-After"] = "600"
        return refused
    response = StreamingHttpResponse(
        traces.iter_export(start, chunks), content_type=FORMATS[file_format].media_type
    )
    name = f"loupe-{kind}-{timezone.now():%Y%m%d-%H%M%S}.{file_format}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _answer_in_text(text: str, *, status: int) -> HttpResponse:
    return HttpResponse(text, status=status, content_type="text/plain; charset=utf-8")
