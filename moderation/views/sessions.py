"""The page of one's own sessions."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.template.defaultfilters import pluralize
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from generation.core.recent_login import requires_recent_login
from moderation.presenters import team as presenter
from moderation.services import browser_sessions
from moderation.views.access import DeskRequest, SeeOther


@require_safe
def session_list(request: DeskRequest) -> HttpResponse:
    context = presenter.build_sessions(request.user, request.session.session_key)
    return render(request, "moderation/session_list.html", context)


@require_POST
@requires_recent_login()
def session_end(request: DeskRequest, uuid: UUID) -> HttpResponse:
    browser_sessions.end(get_object_or_404(browser_sessions.list_open(request.user), uuid=uuid))
    messages.success(request, "That session has ended.")
    return SeeOther(reverse("moderation:session-list"))


@require_POST
@requires_recent_login()
def session_rest_end(request: DeskRequest) -> HttpResponse:
    """End all sessions of the person but this one."""
    ended = browser_sessions.end_all(request.user, keep=request.session.session_key)
    messages.success(request, f"{ended} other session{pluralize(ended)} ended.")
    return SeeOther(reverse("moderation:session-list"))
