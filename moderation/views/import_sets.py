"""Import of images in the browser: sets of uploaded files, with the outcome of each file.

The script of the page sends one file at a time and reads JSON. Without it, a form sends all files
at once and the page of the set shows the outcomes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from generation import imaging
from generation.core.db import keyset
from generation.core.outages import RETRY_AFTER
from generation.wire.parsing import parse_integer
from moderation import queues
from moderation.forms.imports import ImportForm
from moderation.models import ImportedFile, ImportSet
from moderation.services import import_sets
from moderation.views.access import DeskRequest, SeeOther

SETS_SHOWN = 30
REFUSED_SHOWN = 200
# The largest archive, with the boundaries and names of the form around it.
BODY_MAX = import_sets.ARCHIVE_BYTES + 1024 * 1024
ADD, VIEW = "moderation.add_importset", "moderation.view_importset"
View = Callable[..., HttpResponse]


def limit_body(view: View) -> View:
    """Refuse a body that is too large before anything reads it, then check the CSRF token."""
    protected = csrf_protect(view)

    @csrf_exempt
    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if (parse_integer(request.META.get("CONTENT_LENGTH") or "0") or 0) > BODY_MAX:
            message = f"One upload has at most {BODY_MAX // 1024 // 1024} MiB. Send less at once."
            return HttpResponse(message, status=413, content_type="text/plain; charset=utf-8")
        return protected(request, *args, **kwargs)

    return wrapper


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required(VIEW, raise_exception=True)
@limit_body
def import_set_list(request: DeskRequest) -> HttpResponse:
    if request.method == "POST":
        return _create_set(request)
    return _render_list(request, ImportForm())


@permission_required(ADD, raise_exception=True)
def _create_set(request: DeskRequest) -> HttpResponse:
    form = ImportForm(request.POST)
    if not form.is_valid():
        if _wants_json(request):
            return JsonResponse({"error": form.get_message()}, status=422)
        return _render_list(request, form, status=422)
    import_set = import_sets.create(user=request.user, name=form.get_name())
    if _wants_json(request):
        return JsonResponse({"url": import_set.get_absolute_url()}, status=201)
    return _add_files(request, import_set)


def _render_list(request: DeskRequest, form: ImportForm, *, status: int = 200) -> HttpResponse:
    rows = ImportSet.objects.select_related("created_by")
    before = parse_integer(request.GET.get("before", ""))
    if before is not None:
        rows = rows.filter(pk__lt=before)
    page, has_more = keyset.read_page(rows.order_by("-pk"), SETS_SHOWN)
    context = {"form": form, "page": page, "following": page[-1].pk if has_more else None}
    return render(request, "moderation/import_set_list.html", context, status=status)


@require_safe
@permission_required(VIEW, raise_exception=True)
def import_set_detail(request: DeskRequest, uuid: UUID) -> HttpResponse:
    import_set = get_object_or_404(ImportSet.objects.select_related("created_by"), uuid=uuid)
    queue = queues.find_queue(f"waiting?import_set={import_set.uuid}", request.user)
    refused = import_set.files.filter(outcome=ImportedFile.Outcome.REFUSED).order_by("pk")
    context = {
        "import_set": import_set,
        "queue": queue,
        "is_party": not settings.DECIDE_OWN_REQUESTS and import_set.created_by == request.user,
        "waiting": queues.count_bounded(queue.reviews(request.user)) if queue else "",
        "refused": refused[:REFUSED_SHOWN],
        "more_refused": max(0, import_set.refused - REFUSED_SHOWN),
    }
    return render(request, "moderation/import_set_detail.html", context)


@require_POST
@permission_required(ADD, raise_exception=True)
@limit_body
def imported_file_add(request: DeskRequest, uuid: UUID) -> HttpResponse:
    import_set = get_object_or_404(ImportSet, uuid=uuid)
    return _add_files(request, import_set)


def _wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept") == "application/json"


# --- Files ---
def _add_files(request: DeskRequest, import_set: ImportSet) -> HttpResponse:
    """Store the uploaded files; stop at a fault of this host and name the file."""
    files = request.FILES.getlist("files")
    # The browser sends the path inside a chosen folder beside the file. It is only shown.
    paths = request.POST.getlist("paths")
    answers: list[dict[str, Any]] = []
    for number, file in enumerate(files):
        name = paths[number] if number < len(paths) else file.name or "unnamed"
        try:
            answers += _add_upload(request, import_set, file, name)
        except import_sets.FAULTS as error:
            return _answer_fault(request, import_set, name, len(files) - number, str(error))
        except import_sets.ImportSetFullError as error:
            return _answer_full(request, import_set, str(error))
    if _wants_json(request):
        return JsonResponse({"files": answers})
    _summarize(request, answers)
    return SeeOther(import_set.get_absolute_url())


def _add_upload(
    request: DeskRequest, import_set: ImportSet, file: UploadedFile[bytes], name: str
) -> list[dict[str, Any]]:
    """Store a file or the images of an archive; return an answer for each."""
    size = file.size or 0
    if import_sets.is_archive(file.read(4)):
        return _add_archive(request, import_set, file, name)
    file.seek(0)
    if size > imaging.MAX_BYTES:
        limit = imaging.MAX_BYTES // 1024 // 1024
        reason = f"The file is larger than {limit} MiB."
        row = import_sets.refuse_file(import_set=import_set, name=name, reason=reason)
    else:
        row = import_sets.add_file(
            import_set=import_set, content=file.read(), name=name, user=request.user
        )
    return [_describe(row, name)]


def _add_archive(
    request: DeskRequest, import_set: ImportSet, file: UploadedFile[bytes], name: str
) -> list[dict[str, Any]]:
    try:
        report = import_sets.add_archive(
            import_set=import_set, file=file, size=file.size or 0, user=request.user
        )
    except import_sets.ArchiveRefusedError as error:
        row = import_sets.refuse_file(import_set=import_set, name=name, reason=str(error))
        return [_describe(row, name)]
    return [
        *(_describe(row, f"{name}: {row.name}") for row in report.files),
        {"name": name, "outcome": "archive", "skipped": report.skipped, "left": report.left},
    ]


def _describe(row: ImportedFile, name: str) -> dict[str, Any]:
    return {"name": name, "outcome": row.outcome, "reason": row.reason}


def _answer_fault(
    request: DeskRequest, import_set: ImportSet, name: str, left: int, error: str
) -> HttpResponse:
    if _wants_json(request):
        return JsonResponse({"error": error}, status=503, headers={"Retry-After": str(RETRY_AFTER)})
    messages.error(
        request,
        f"Stopped at {name}: {left} of the files are not stored. {error} Then choose the same"
        " files again: those that are stored are recognised.",
    )
    return SeeOther(import_set.get_absolute_url())


def _answer_full(request: DeskRequest, import_set: ImportSet, error: str) -> HttpResponse:
    if _wants_json(request):
        return JsonResponse({"error": error}, status=409)
    messages.error(request, error)
    return SeeOther(import_set.get_absolute_url())


def _summarize(request: DeskRequest, answers: list[dict[str, Any]]) -> None:
    if not answers:
        messages.error(request, "Choose files first.")
        return
    left = sum(answer.get("left", 0) for answer in answers)
    if left:
        messages.warning(
            request,
            f"{left} files of the archive are not read yet, because it takes long. Choose the"
            " archive again: files that are stored are recognised.",
        )
    skipped = sum(answer.get("skipped", 0) for answer in answers)
    if skipped:
        messages.info(request, f"{skipped} files are no images by their names, and were skipped.")
