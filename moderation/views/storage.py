"""The page Storage, for operators."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from moderation.presenters import storage as presenter
from moderation.services import storage_usage
from moderation.views.access import DeskRequest, SeeOther


@require_safe
@permission_required("moderation.view_operations", raise_exception=True)
def storage_usage_detail(request: DeskRequest) -> HttpResponse:
    return render(request, "moderation/storage_usage.html", presenter.build_page())


@require_POST
@permission_required("moderation.view_operations", raise_exception=True)
def storage_scan_create(request: DeskRequest) -> HttpResponse:
    """Have the storage measured now."""
    if storage_usage.order_scan():
        messages.info(request, "The storage is being measured. That takes a while.")
    else:
        messages.info(request, "The storage is being measured already.")
    return SeeOther(reverse("moderation:storage-usage-detail"))
