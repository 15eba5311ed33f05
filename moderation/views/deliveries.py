"""Events that Loupe sends to programs: the list for operators, and sending one again."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from moderation.models import Delivery
from moderation.presenters import deliveries as presenter
from moderation.services import webhook_events
from moderation.views.access import DeskRequest, SeeOther

VIEW = "moderation.view_operations"


@require_safe
@permission_required(VIEW, raise_exception=True)
def delivery_list(request: HttpRequest) -> HttpResponse:
    context = presenter.build_list(
        status=request.GET.get("status", ""), before=request.GET.get("before", "")
    )
    return render(request, "moderation/delivery_list.html", context)


@require_POST
def delivery_retry(request: DeskRequest, uuid: UUID) -> HttpResponse:
    """Send a delivery again; for operators and the owner of its API key."""
    is_operator = request.user.has_perm(VIEW)
    rows = Delivery.objects.all()
    if not is_operator:
        rows = rows.filter(request__api_key__owner=request.user)
    if webhook_events.send_again(get_object_or_404(rows, uuid=uuid)):
        messages.success(request, "The event is sent again now.")
    else:
        messages.info(request, "The event has been delivered meanwhile.")
    is_list = is_operator and "own" not in request.POST
    return SeeOther(reverse("moderation:delivery-list" if is_list else "moderation:developers"))
