"""A person's own history, and the team's quality figures."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from moderation.presenters import history as own_history
from moderation.presenters import insights
from moderation.presenters import quality as team_quality
from moderation.views.access import DeskRequest


@require_GET
def history(request: DeskRequest) -> HttpResponse:
    """Show the user's own last decisions. No page shows somebody else's in this way."""
    context = {
        "lines": own_history.list_own_decisions(request.user),
        "own": own_history.load_own_stats(request.user),
    }
    return render(request, "moderation/history.html", context)


@require_GET
def quality(request: DeskRequest) -> HttpResponse:
    if not request.user.has_perm("moderation.view_periodcount"):
        raise PermissionDenied("You may not read the figures on quality.")
    wish = request.GET.get("days", "")
    days = (
        int(wish)
        if wish in {str(period) for period in team_quality.PERIODS}
        else team_quality.PERIODS[1]
    )
    context = {
        **team_quality.build_quality(days),
        "tabs": insights.list_tabs("moderation:quality"),
        "windows": team_quality.PERIODS,
    }
    return render(request, "moderation/quality.html", context)
