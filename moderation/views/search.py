"""The search page: one box, filters, and similar images. The URL holds the whole search."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods

from generation import imaging
from moderation.search import SearchForm, known, likeness, run_search
from moderation.search.uploads import InMemoryHandler, hash_upload
from moderation.views.access import DeskRequest, SeeOther

SUGGESTED = 200  # model names offered as suggestions
# Search reads prompts, so it needs permission to view requests.
PERMISSIONS = ("moderation.view_review", "generation.view_generationrequest")
TEMPLATE = "moderation/search.html"


@csrf_exempt  # checked by _by_picture, after the upload handler is set
@require_http_methods(["GET", "HEAD", "POST"])
@permission_required(PERMISSIONS, raise_exception=True)
def search(request: DeskRequest) -> HttpResponse:
    if request.method == "POST":
        request.upload_handlers = [InMemoryHandler(request)]
        return _search_by_image(request)
    form = SearchForm(request.GET)
    context: dict[str, Any] = {
        "form": form,
        "models": known.list_models()[:SUGGESTED],
        "knows_words": likeness.knows_words(),
    }
    if not form.is_valid():
        return render(request, TEMPLATE, context, status=422)
    if form.given.keys() - {"wide"}:
        context["page"] = run_search(form, user=request.user)
    return render(request, TEMPLATE, context)


@csrf_protect
def _search_by_image(request: DeskRequest) -> HttpResponse:
    """Hash the uploaded image and search by the hashes. The image is not stored."""
    file = request.FILES.get("image")
    if file is None:
        return _render_error(request, "Choose a picture first.", status=422)
    try:
        like = hash_upload(file.read())
    except imaging.UnreadableImageError as error:
        return _render_error(request, str(error), status=422)
    except imaging.DecoderUnavailableError:
        return _render_error(
            request, "Pictures cannot be read now. Try again in a minute.", status=503
        )
    return SeeOther(f"{reverse('moderation:search')}?like={like}")


def _render_error(request: DeskRequest, message: str, *, status: int) -> HttpResponse:
    context = {
        "form": SearchForm({}),
        "models": known.list_models()[:SUGGESTED],
        "knows_words": likeness.knows_words(),
        "refusal": message,
    }
    return render(request, TEMPLATE, context, status=status)
