"""Single sign-on: the way to the identity provider and back (OpenID Connect)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jwt
from allauth.account.internal.flows.reauthentication import resume_request
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.helpers import render_authentication_error
from allauth.socialaccount.models import SocialLogin
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.urls import reverse
from django.utils.crypto import get_random_string
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

PROVIDER = "sso"
# Of key pairs only: no token counts that is signed with a shared secret, or not at all.
ALGORITHMS = [
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
]
KEY_TYPES = {"RSA", "EC", "OKP"}
UNREACHABLE = "The identity provider does not answer as expected. Try again in a moment."
# Of requests, whose errors are OSErrors, and of answers that are no JSON or lack a member.
FAULTS = (OAuth2Error, OSError, ValueError, KeyError, TypeError)


class IdentityProvider(OpenIDConnectOAuth2Adapter):
    """The provider of OIDC_ISSUER.

    django-allauth checks issuer, audience and expiry of the ID token. It trusts the TLS connection
    to the token endpoint in place of the signature. The checks here are those of OpenID Connect
    Core that it leaves out.
    """

    @property
    def openid_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().openid_config
        if config.get("issuer") != settings.SSO["issuer"]:
            raise OAuth2Error(f"The provider calls itself {config.get('issuer')!r}.")
        return config

    def complete_login(
        self, request: HttpRequest, app: Any, token: Any, **kwargs: Any
    ) -> SocialLogin:
        self._verify_signature(str(kwargs["response"].get("id_token") or ""))
        login = super().complete_login(request, app, token, **kwargs)
        claims = login.account.extra_data
        id_token, userinfo = claims.get("id_token"), claims.get("userinfo") or {}
        if not id_token or userinfo.get("sub", id_token.get("sub")) != id_token.get("sub"):
            raise OAuth2Error("The ID token is missing, or is about somebody else.")
        return login

    def _verify_signature(self, id_token: str) -> None:
        """Check the signature of an ID token with the provider's keys. Raises OAuth2Error."""
        with get_adapter().get_requests_session() as session:
            answer = session.get(self.openid_config["jwks_uri"])
            answer.raise_for_status()
        try:
            name = jwt.get_unverified_header(id_token).get("kid")
            keys = jwt.PyJWKSet.from_dict(answer.json()).keys
        except jwt.PyJWTError as error:
            raise OAuth2Error(f"ID token or keys of the provider: {error}") from error
        # Without a name each key is tried.
        found = [key for key in keys if name in {None, key.key_id} and key.key_type in KEY_TYPES]
        if not any(_is_signed(id_token, key) for key in found):
            raise OAuth2Error(f"The ID token is not signed with a key of the provider ({name}).")


def _is_signed(id_token: str, key: jwt.PyJWK) -> bool:
    try:
        jwt.PyJWS().decode(id_token, key.key, algorithms=ALGORITHMS)
    except (jwt.PyJWTError, TypeError):  # TypeError: a key of another kind
        return False
    return True


def _guard(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Return a view that exists with OIDC_ISSUER only, and turns faults into a page."""

    @never_cache
    @require_safe
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        is_on = settings.SSO.get("provider") == PROVIDER
        if not is_on or kwargs.get("provider_id", PROVIDER) != PROVIDER:
            raise Http404
        try:
            return view(request)
        except FAULTS as error:
            answer: HttpResponse = render_authentication_error(
                request, IdentityProvider(request, PROVIDER).get_provider(), exception=error
            )
            return answer

    return wrapper


def _go(request: HttpRequest, *, process: str, next_url: str, **params: str) -> HttpResponse:
    provider = IdentityProvider(request, PROVIDER).get_provider()
    nonce = get_random_string(32)
    answer: HttpResponse = provider.redirect(
        request,
        process=process,
        next_url=next_url,
        auth_params={"nonce": nonce, **params},
        nonce=nonce,
    )
    return answer


def leave(request: HttpRequest, url: str) -> HttpResponse:
    """Show a page that goes to the identity provider by itself.

    The question may follow a form, and ``form-action`` of the Content Security Policy forbids forms
    to be redirected to other sites.
    """
    return render(request, "account/leave.html", {"url": url, "name": settings.SSO["name"]})


def find_next(request: HttpRequest, default: str) -> str:
    """Return the page of Loupe to go to afterwards."""
    url = request.GET.get(REDIRECT_FIELD_NAME, "")
    is_ours = url.startswith("/") and url_has_allowed_host_and_scheme(url, allowed_hosts=None)
    return url if is_ours else default


@login_not_required
@_guard
def login(request: HttpRequest) -> HttpResponse:
    """Go to the identity provider to log in."""
    if request.user.is_authenticated:
        return HttpResponseRedirect(resolve_url(settings.LOGIN_REDIRECT_URL))
    next_url = find_next(request, resolve_url(settings.LOGIN_REDIRECT_URL))
    # The provider asks again who the person is, if that was before the longest session here.
    return _go(
        request, process="login", next_url=next_url, max_age=str(settings.SESSION_COOKIE_AGE)
    )


@login_not_required
@_guard
def callback(request: HttpRequest) -> HttpResponse:
    """Return from the identity provider."""
    view = OAuth2CallbackView.adapter_view(IdentityProvider(request, PROVIDER))
    answer: HttpResponse = view(request)
    return answer


@_guard
def again(request: HttpRequest) -> HttpResponse:
    """Go to the identity provider to prove who one is, then continue."""
    back = urlencode({REDIRECT_FIELD_NAME: find_next(request, "/")})
    away = _go(
        request,
        process="redirect",
        next_url=f"{reverse('single-sign-on-continue')}?{back}",
        prompt="login",
        max_age="0",
    )
    return leave(request, away["Location"])


@require_safe
@never_cache
def resume(request: HttpRequest) -> HttpResponse:
    """Continue what was begun before the question."""
    answer: HttpResponse | None = resume_request(request)
    return answer or HttpResponseRedirect(resolve_url(settings.LOGIN_REDIRECT_URL))
