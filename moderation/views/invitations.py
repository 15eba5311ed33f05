"""The page of an invitation's link: a new account, or a new password."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import SetPasswordForm
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from moderation.forms.team import NewPersonForm
from moderation.models import Invitation
from moderation.models.team import hash_token
from moderation.services import team
from moderation.services.team import TeamError
from moderation.views.access import SeeOther

BACKEND = "config.auth.backend.Accounts"
GONE = "It was used or revoked, or its time is over. Ask the person who sent it for another one."


@login_not_required
@never_cache
@sensitive_post_parameters()
@sensitive_variables("token")
@require_http_methods(["GET", "HEAD", "POST"])
def invitation_accept(request: HttpRequest, token: str) -> HttpResponse:
    invitation = team.find_usable(hash_token(token))
    if invitation is None:
        return _render(request, status=410, problem=GONE)
    if request.user.is_authenticated:
        return _render(request, status=409, logged_in=True)
    if settings.SSO and request.method == "GET":
        request.session["invitation"] = invitation.digest  # config/auth/social.py reads it
    if invitation.kind == Invitation.Kind.PASSWORD:
        return _reset(request, invitation)
    return _join(request, invitation)


def _render(request: HttpRequest, *, status: int = 200, **context: Any) -> HttpResponse:
    context |= {"sso": settings.SSO, "has_password_login": settings.PASSWORD_LOGIN}
    return render(request, "account/invitation.html", context, status=status)


def _join(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    if request.method == "POST" and not settings.PASSWORD_LOGIN:
        return _render(request, status=409, problem="Log-in by password is off.")
    form = NewPersonForm(request.POST if request.method == "POST" else None)
    if not form.is_bound or not form.is_valid():
        status = 422 if form.is_bound else 200
        return _render(request, status=status, form=form, invitation=invitation)
    try:
        person = team.accept(invitation=invitation, person=form.save(commit=False))
    except TeamError as error:
        return _render(request, status=409, problem=str(error))
    login(request, person, backend=BACKEND)
    return SeeOther(reverse("home"))


def _reset(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    person: Any = invitation.person
    form: SetPasswordForm[User] = SetPasswordForm(
        person, request.POST if request.method == "POST" else None
    )
    if not form.is_bound or not form.is_valid():
        status = 422 if form.is_bound else 200
        return _render(request, status=status, form=form, invitation=invitation)
    try:
        team.set_password(
            invitation=invitation, person=person, password=form.cleaned_data["new_password1"]
        )
    except TeamError as error:
        return _render(request, status=409, problem=str(error))
    return _render(request, done=True)
