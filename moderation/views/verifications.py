"""Page of the verifications of the whole record."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from moderation.presenters.verifications import build_verifications
from moderation.services import verification
from moderation.views.access import DeskRequest, SeeOther


@require_GET
@permission_required("moderation.view_verification", raise_exception=True)
def verification_list(request: DeskRequest) -> HttpResponse:
    """Show the running verification, earlier results, and the published heads."""
    name = "_verifications" if request.htmx else "verification_list"
    return render(request, f"moderation/{name}.html", build_verifications(request.user))


@require_POST
@permission_required("moderation.add_verification", raise_exception=True)
def verification_create(request: DeskRequest) -> HttpResponse:
    _, is_new = verification.start(user=request.user)
    if is_new:
        messages.success(request, "Started. This page shows the progress.")
    else:
        messages.info(request, "A verification is already running. Wait for its result.")
    return SeeOther(reverse("moderation:verification-list"))
