"""The figures on classifiers as files."""

from __future__ import annotations

from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse, JsonResponse
from django.views.decorators.http import require_GET

from moderation.models.judgement_reports import WINDOWS
from moderation.presenters import judgement
from moderation.views.access import DeskRequest


@require_GET
@permission_required("moderation.export_decision", raise_exception=True)
def figures(request: DeskRequest, file_format: str) -> HttpResponse:
    """Return the figures of a window (``days``) as JSON or CSV."""
    days = judgement.parse_days(request.GET.get("days", ""))
    if days is None:
        windows = ", ".join(map(str, WINDOWS))
        return HttpResponse(
            f"There are figures of these numbers of days: {windows}.",
            status=400,
            content_type="text/plain; charset=utf-8",
        )
    document = judgement.find_document(days)
    if file_format == "json":
        return JsonResponse(document)
    return HttpResponse(judgement.write_csv(document), content_type="text/csv; charset=utf-8")
