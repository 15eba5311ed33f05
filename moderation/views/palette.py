"""Entries of the command palette, as JSON for its script."""

from __future__ import annotations

from django.http import JsonResponse
from django.views.decorators.http import require_safe

from moderation.presenters.palette import find_ids, list_queue_entries
from moderation.views.access import DeskRequest

TEXT_MAX = 40  # a UUID has 36 characters


@require_safe
def palette(request: DeskRequest) -> JsonResponse:
    """Return the user's queues, or with ``q`` the objects with that id."""
    text = request.GET.get("q", "")[:TEXT_MAX]
    entries = find_ids(request.user, text) if text else list_queue_entries(request.user)
    return JsonResponse({"entries": entries})
