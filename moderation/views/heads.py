"""The page of learned heads: their status, and one step up or out."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from generation.core.recent_login import requires_recent_login
from moderation.models import Head
from moderation.models.heads import BrokenHeadError
from moderation.presenters import heads as presenter
from moderation.services import learning
from moderation.views.access import DeskRequest, SeeOther


@require_safe
@permission_required("moderation.view_head", raise_exception=True)
def head_list(request: DeskRequest) -> HttpResponse:
    return render(request, "moderation/head_list.html", presenter.build_list())


@require_POST
@permission_required("moderation.promote_head", raise_exception=True)
@requires_recent_login()
def head_change(request: DeskRequest, pk: int) -> HttpResponse:
    """Promote a head one step, promote it so that it may reject, or retire it."""
    head = get_object_or_404(Head, pk=pk)
    step = request.POST.get("step", "")
    try:
        if step == "retire":
            row = learning.retire(head=head, user=request.user)
        elif step in ("promote", "promote-to-reject"):
            may_reject = step == "promote-to-reject"
            row = learning.promote(head=head, user=request.user, may_reject=may_reject)
        else:
            raise learning.LearningError("Choose whether to promote or to retire the head.")
    except (learning.LearningError, BrokenHeadError) as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{row}: {row.get_status_display()}.")
    return SeeOther(reverse("moderation:head-list"))
