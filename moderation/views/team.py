"""Pages about the team: people, roles, invitations, changes."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.template.defaultfilters import pluralize
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from generation.core.recent_login import requires_recent_login
from moderation.forms.team import InvitationForm, RolesForm
from moderation.models import Invitation
from moderation.presenters import team as presenter
from moderation.services import api_keys, team, team_mail
from moderation.services.team import TeamError
from moderation.views.access import DeskRequest, SeeOther

manage = permission_required(team.MANAGE, raise_exception=True)


def require_member(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Restrict a view to people who work at the desk or manage the team."""

    @wraps(view)
    def wrapper(request: DeskRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not (
            request.user.has_perm("moderation.view_review") or request.user.has_perm(team.MANAGE)
        ):
            raise PermissionDenied("The team is shown to people with a role at the desk.")
        return view(request, *args, **kwargs)

    return wrapper


@require_safe
@require_member
def person_list(request: DeskRequest) -> HttpResponse:
    context = presenter.build_people(
        request.user,
        query=request.GET.get("q", ""),
        role=request.GET.get("role", ""),
        after=request.GET.get("after", ""),
    )
    return render(request, "moderation/person_list.html", context)


@require_safe
@require_member
def role_list(request: DeskRequest) -> HttpResponse:
    context = {
        "tabs": presenter.list_tabs(request.user, "Roles"),
        "cards": presenter.build_roles(),
    }
    return render(request, "moderation/role_list.html", context)


@require_safe
@permission_required("moderation.view_teamevent", raise_exception=True)
def team_event_list(request: DeskRequest) -> HttpResponse:
    context = presenter.build_events(request.user, before=request.GET.get("before", ""))
    return render(request, "moderation/team_event_list.html", context)


# --- One person ---


@require_safe
@manage
def person_detail(request: DeskRequest, pk: int) -> HttpResponse:
    return _render_person(request, get_object_or_404(User, pk=pk))


def _render_person(
    request: DeskRequest, person: User, *, status: int = 200, **extra: Any
) -> HttpResponse:
    context = presenter.build_person(request.user, person) | extra
    response = render(request, "moderation/person_detail.html", context, status=status)
    if extra.get("shown_link"):
        add_never_cache_headers(response)
    return response


def _change(request: DeskRequest, person: User, change: Callable[[], str]) -> HttpResponse:
    """Run a change and return to the person; 409 with the reason if it is refused."""
    try:
        message = change()
    except TeamError as error:
        return _render_person(request, person, status=409, problem=str(error))
    messages.success(request, message)
    return SeeOther(reverse("moderation:person-detail", args=[person.pk]))


@require_POST
@manage
@requires_recent_login()
def person_role_change(request: DeskRequest, pk: int) -> HttpResponse:
    person = get_object_or_404(User, pk=pk)
    form = RolesForm(request.POST)
    if not form.is_valid():
        problem = "Choose roles from the list."
        return _render_person(request, person, status=422, problem=problem)

    def change() -> str:
        team.set_roles(actor=request.user, person=person, names=form.cleaned_data["roles"])
        message = f"The roles of {person.get_username()} are saved."
        left = api_keys.count_orphaned(person)
        if left:
            works = f"API key{pluralize(left)} still work{pluralize(left, 's,')}"
            message += f" {left} {works}: see below."
        return message

    return _change(request, person, change)


@require_POST
@manage
@requires_recent_login()
def person_deactivate(request: DeskRequest, pk: int) -> HttpResponse:
    person = get_object_or_404(User, pk=pk)

    def change() -> str:
        team.deactivate(actor=request.user, person=person)
        return f"{person.get_username()} is deactivated. All sessions have ended."

    return _change(request, person, change)


@require_POST
@manage
@requires_recent_login()
def person_reactivate(request: DeskRequest, pk: int) -> HttpResponse:
    person = get_object_or_404(User, pk=pk)

    def change() -> str:
        team.reactivate(actor=request.user, person=person)
        return f"{person.get_username()} can log in again."

    return _change(request, person, change)


@require_POST
@manage
def person_session_end(request: DeskRequest, pk: int) -> HttpResponse:
    person = get_object_or_404(User, pk=pk)

    def change() -> str:
        ended = team.end_sessions(actor=request.user, person=person)
        return f"{ended} session{pluralize(ended)} of {person.get_username()} ended."

    return _change(request, person, change)


@require_POST
@manage
@requires_recent_login()
def person_factor_reset(request: DeskRequest, pk: int) -> HttpResponse:
    person = get_object_or_404(User, pk=pk)

    def change() -> str:
        team.reset_factors(actor=request.user, person=person)
        return f"{person.get_username()} has no second factor now. All sessions have ended."

    return _change(request, person, change)


@require_POST
@manage
@requires_recent_login()
def person_password(request: DeskRequest, pk: int) -> HttpResponse:
    """Make a link for a new password: sent by mail if possible, else shown in this response."""
    person = get_object_or_404(User, pk=pk)
    try:
        invitation, token = team.make_reset(actor=request.user, person=person)
    except TeamError as error:
        return _render_person(request, person, status=409, problem=str(error))
    return _render_person(request, person, **_deliver_link(invitation, token))


def _deliver_link(invitation: Invitation, token: str) -> dict[str, Any]:
    """Send the link; return what the page shows of it."""
    path = reverse("moderation:invitation-accept", args=[token])
    link = settings.PUBLIC_URL.rstrip("/") + path
    shown: dict[str, Any] = {"made": invitation, "shown_link": link}
    if not invitation.email or not team_mail.can_send():
        return shown
    if team_mail.send_link(invitation, link):
        return {"made": invitation, "sent_to": invitation.email}
    return shown | {"mail_failed": True}


# --- Invitations ---


@require_http_methods(["GET", "HEAD", "POST"])
@manage
@requires_recent_login()
def invitation_list(request: DeskRequest) -> HttpResponse:
    """Show open invitations; make one."""
    form = InvitationForm(request.POST if request.method == "POST" else None)
    delivered: dict[str, Any] = {}
    if request.method == "POST" and form.is_valid():
        try:
            invitation, token = team.invite(
                actor=request.user,
                names=form.cleaned_data["roles"],
                email=form.cleaned_data["email"],
            )
        except TeamError as error:
            form.add_error(None, str(error))
        else:
            delivered = _deliver_link(invitation, token)
            form = InvitationForm()
    context = presenter.build_invitations(request.user) | delivered
    context |= {
        "form": form,
        "chosen": request.POST.getlist("roles") if form.is_bound else [],
        "can_send": team_mail.can_send(),
    }
    status = 422 if form.is_bound else 200
    response = render(request, "moderation/invitation_list.html", context, status=status)
    if delivered:
        add_never_cache_headers(response)
    return response


@require_POST
@manage
def invitation_revoke(request: DeskRequest, uuid: UUID) -> HttpResponse:
    invitation = get_object_or_404(Invitation, uuid=uuid)
    try:
        is_done = team.revoke(actor=request.user, invitation=invitation)
    except TeamError as error:
        messages.error(request, str(error))
    else:
        messages.success(
            request, "The link no longer works." if is_done else "That link had ended already."
        )
    return SeeOther(reverse("moderation:invitation-list"))
