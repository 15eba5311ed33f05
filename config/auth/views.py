"""Pages of the log-in that differ from those of django-allauth."""

from __future__ import annotations

import logging
from typing import Any

from allauth.account import views as account_views
from allauth.decorators import rate_limit
from allauth.mfa.base import views as mfa_views
from allauth.mfa.recovery_codes import views as recovery_views
from allauth.mfa.webauthn import views as webauthn_views
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.shortcuts import render, resolve_url
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from generation.core import recent_login
from moderation.services import browser_sessions, team_mail

log = logging.getLogger("loupe.login")

READ_OR_POST = ("GET", "HEAD", "POST")
# Cached pages may hold images. Storage is left alone: it keeps decisions that were not sent yet.
CLEARED_AT_LOGOUT = '"cache"'


class Login(account_views.LoginView):
    """The log-in page: password, passkey or single sign-on."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not settings.PASSWORD_LOGIN:
            raise PermissionDenied("Log-in by password is off.")
        answer: HttpResponse = super().post(request, *args, **kwargs)
        return answer

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {
            **super().get_context_data(**kwargs),
            "next": self.get_next_url() or "",
            "session_hours": settings.SESSION_HOURS,
            "idle_minutes": settings.SESSION_IDLE_MINUTES,
            "has_password_login": settings.PASSWORD_LOGIN,
            "sso": settings.SSO,
        }


class PasskeyLogin(webauthn_views.LoginWebAuthnView):
    """The log-in by passkey, whose challenge and answer the log-in page fetches and sends."""

    def form_invalid(self, form: Any) -> HttpResponse:
        log.warning("Refused: a passkey that is unknown or does not fit the question")
        answer: HttpResponse = super().form_invalid(form)
        return answer


class Logout(account_views.LogoutView):
    """Log-out. The browser forgets what it has cached."""

    http_method_names = ["post", "options"]

    def post(self, *args: Any, **kwargs: Any) -> HttpResponse:
        answer: HttpResponse = super().post(*args, **kwargs)
        answer["Clear-Site-Data"] = CLEARED_AT_LOGOUT
        return answer


# --- Passwords ---


@method_decorator(rate_limit(action="change_password"), name="dispatch")
class PasswordChange(PasswordChangeView):
    """The page to change one's own password. All other sessions of the account end."""

    template_name = "account/password_change.html"
    success_url = reverse_lazy("preferences")

    def form_valid(self, form: PasswordChangeForm) -> HttpResponse:
        response = super().form_valid(form)
        browser_sessions.end_all(form.user, keep=self.request.session.session_key)
        messages.success(self.request, "Password changed. All your other sessions have ended.")
        return response

    def form_invalid(self, form: PasswordChangeForm) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=422)


@method_decorator(login_not_required, name="dispatch")
class PasswordReset(account_views.PasswordResetView):
    """The page to ask for a new password. Its answer is the same for unknown addresses."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not settings.PASSWORD_LOGIN:
            raise Http404
        if not team_mail.can_send() and request.method in READ_OR_POST:
            status = 409 if request.method == "POST" else 200
            return render(request, self.template_name, {"is_off": True}, status=status)
        answer: HttpResponse = super().dispatch(request, *args, **kwargs)
        return answer


@method_decorator(login_not_required, name="dispatch")
class PasswordResetFromKey(account_views.PasswordResetFromKeyView):
    """The page of the link in the mail. All sessions of the account end."""

    def dispatch(self, request: HttpRequest, uidb36: str, key: str, **kwargs: Any) -> HttpResponse:
        if not settings.PASSWORD_LOGIN:
            raise Http404
        if request.method not in READ_OR_POST:
            return HttpResponseNotAllowed(READ_OR_POST)
        answer: HttpResponse = super().dispatch(request, uidb36, key, **kwargs)
        return answer

    def render_to_response(self, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        if context.get("token_fail"):
            kwargs["status"] = 410
        answer: HttpResponse = super().render_to_response(context, **kwargs)
        return answer

    def form_valid(self, form: Any) -> HttpResponse:
        answer: HttpResponse = super().form_valid(form)
        browser_sessions.end_all(self.reset_user)
        return answer


# --- Log in again ---


class Reauthenticate(account_views.ReauthenticateView):
    """The question for the password before something that needs a recent log-in."""

    def form_valid(self, form: Any) -> HttpResponse:
        recent_login.note_login(self.request)
        answer: HttpResponse = super().form_valid(form)
        return answer

    def form_invalid(self, form: Any) -> HttpResponse:
        log.warning("Refused: account %s, wrong password to confirm", self.request.user.pk)
        answer: HttpResponse = super().form_invalid(form)
        return answer


class ReauthenticateByCode(mfa_views.ReauthenticateView):
    """The same question, for a code of the app or a recovery code."""

    def form_valid(self, form: Any) -> HttpResponse:
        recent_login.note_login(self.request)
        answer: HttpResponse = super().form_valid(form)
        return answer


class ReauthenticateByPasskey(webauthn_views.ReauthenticateWebAuthnView):
    """The same question, for a passkey."""

    def form_valid(self, form: Any) -> HttpResponse:
        recent_login.note_login(self.request)
        answer: HttpResponse = super().form_valid(form)
        return answer

    def form_invalid(self, form: Any) -> HttpResponse:
        log.warning("Refused: account %s, wrong passkey to confirm", self.request.user.pk)
        messages.error(self.request, "That passkey was not accepted. Try again.")
        return HttpResponseRedirect(self.request.get_full_path())

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        # The parent leaves out the form and the other ways.
        return {
            **super().get_context_data(**kwargs),
            "reauthentication_alternatives": self.get_reauthentication_alternatives(),
        }


@require_safe
@never_cache
def download_start(request: HttpRequest) -> HttpResponse:
    """Show a page that starts a download, after the question, and leads back."""
    places = {
        name: request.GET.get(name, "")
        for name in ("to", "back")
        if url_has_allowed_host_and_scheme(request.GET.get(name, ""), allowed_hosts=None)
        and request.GET.get(name, "").startswith("/")
    }
    if "to" not in places:
        raise Http404
    return render(request, "account/download_start.html", places)


@require_safe
def single_sign_on_cancel(request: HttpRequest) -> HttpResponse:
    """Return to the log-in page from an identity provider that logged nobody in."""
    messages.error(request, "You were not logged in there. Try again, or log in another way.")
    return HttpResponseRedirect(resolve_url(settings.LOGIN_URL))


# --- Second factors ---


class RecoveryCodes(recovery_views.ViewRecoveryCodesView):
    """The page with one's own recovery codes. Leads to new ones if these cannot be read."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            answer: HttpResponse = super().get(request, *args, **kwargs)
        except ValidationError:  # of MfaAdapter.decrypt()
            return HttpResponseRedirect(reverse("mfa_generate_recovery_codes"))
        return answer


class RecoveryCodesRenewal(recovery_views.GenerateRecoveryCodesView):
    """The page to replace one's own recovery codes."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        try:
            context: dict[str, Any] = super().get_context_data(**kwargs)
        except ValidationError:
            return {"form": self.get_form(), "is_unreadable": True, **kwargs}
        return context


class PasskeyRemoval(webauthn_views.RemoveWebAuthnView):
    """The page to remove one's own passkey."""

    success_url = reverse_lazy("mfa_index")
