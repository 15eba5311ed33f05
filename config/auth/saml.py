"""Single sign-on: the way to the identity provider and back (SAML 2.0). Needs the extra `saml`."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from typing import Any

from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.helpers import render_authentication_error
from allauth.socialaccount.providers.base.constants import AuthError
from allauth.socialaccount.providers.saml import utils, views
from allauth.socialaccount.providers.saml.provider import SAMLProvider
from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.decorators import login_not_required
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods
from onelogin.saml2.auth import OneLogin_Saml2_Auth
from onelogin.saml2.constants import OneLogin_Saml2_Constants
from onelogin.saml2.errors import OneLogin_Saml2_ValidationError as ValidationError
from onelogin.saml2.response import OneLogin_Saml2_Response
from onelogin.saml2.settings import OneLogin_Saml2_Settings
from onelogin.saml2.utils import OneLogin_Saml2_Utils
from onelogin.saml2.xml_utils import OneLogin_Saml2_XML

from config.auth.oidc import UNREACHABLE, find_next, leave
from config.auth.saml_settings import SLUG
from config.auth.social import FOREIGN

log = logging.getLogger("loupe.login")

EXPIRED = (
    "The identity provider's answer is too old or from the future. Start again; if it happens"
    " again, the clocks of the two servers differ."
)
UNSIGNED = "The identity provider did not sign its statement about you."
REFUSED = "The identity provider's answer was not accepted."
ELSEWHERE = "The identity provider's answer is for another service."
REASONS = {
    ValidationError.ASSERTION_EXPIRED: EXPIRED,
    ValidationError.ASSERTION_TOO_EARLY: EXPIRED,
    ValidationError.RESPONSE_EXPIRED: EXPIRED,
    ValidationError.SESSION_EXPIRED: EXPIRED,
    ValidationError.NO_SIGNATURE_FOUND: UNSIGNED,
    ValidationError.NO_SIGNED_ASSERTION: UNSIGNED,
    ValidationError.INVALID_SIGNATURE: "The signature of the identity provider's answer is wrong.",
    ValidationError.WRONG_AUDIENCE: ELSEWHERE,
    ValidationError.WRONG_DESTINATION: ELSEWHERE,
    ValidationError.WRONG_ISSUER: "The answer comes from another identity provider.",
}
UNSOLICITED = "Start the log-in here, not at the identity provider."
INCOMPLETE = "The identity provider's answer does not say for whom and how long it is meant."
USED = "This answer was used before. Start again."
TRANSIENT = "The identity provider sent a name that changes at each log-in, so you have no account."
INSTANT = "//saml:Assertion/saml:AuthnStatement/@AuthnInstant"
ANSWER_MAX = 256 * 1024  # characters; it waits in the database until the next request


class IdentityProvider(SAMLProvider):
    """The provider of SAML_METADATA, with the rules of the SAML profile that python3-saml omits."""

    def extract_extra_data(self, data: OneLogin_Saml2_Auth) -> dict[str, Any]:
        """Return the attributes, and the claims in the names of OpenID Connect.

        Raises PermissionDenied.
        """
        _use_once(data)
        uid, nameid_format = self.extract_uid(data), data.get_nameid_format() or ""
        if nameid_format.endswith(":transient") and uid == data.get_nameid():
            raise PermissionDenied(TRANSIENT)
        found = self.extract_common_fields(data)
        # The assertion is the only one, and signed.
        document = OneLogin_Saml2_XML.to_etree(data.get_last_response_xml())
        instant = OneLogin_Saml2_XML.query(document, INSTANT)[0]
        return {
            "attributes": data.get_attributes(),
            "claims": {
                "sub": uid,
                "preferred_username": found.get("username") or found.get("email", ""),
                "auth_time": OneLogin_Saml2_Utils.parse_SAML_to_time(instant),
            },
        }


def _use_once(data: OneLogin_Saml2_Auth) -> None:
    digest = hashlib.sha256(data.get_last_assertion_id().encode()).hexdigest()
    rest = data.get_last_assertion_not_on_or_after() - time.time()
    seconds = max(rest, 0) + OneLogin_Saml2_Constants.ALLOWED_CLOCK_DRIFT + 60
    if not cache.add(f"saml-assertion-{digest}", True, timeout=seconds):
        raise PermissionDenied(USED)


def _get_provider(request: HttpRequest) -> IdentityProvider:
    return IdentityProvider(request, get_adapter().get_app(request, "saml", SLUG))


def _guard(*methods: str) -> Callable[..., Callable[..., HttpResponse]]:
    """Return a decorator: views exist with SAML_METADATA only, and turn refusals into a page."""

    def decorate(view: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponse]:
        @never_cache
        @require_http_methods(methods)
        def wrapper(request: HttpRequest, organization_slug: str = SLUG) -> HttpResponse:
            is_on = settings.SSO.get("provider") == "saml"
            if not is_on or organization_slug != SLUG:
                raise Http404
            # The library compares addresses with the header as the proxy sent it.
            request.META["HTTP_HOST"] = request.get_host()
            try:
                return view(request)
            except PermissionDenied as error:
                answer: HttpResponse = render_authentication_error(
                    request, _get_provider(request), exception=error
                )
                return answer

        return wrapper

    return decorate


def _build_auth(request: HttpRequest) -> OneLogin_Saml2_Auth:
    try:
        return utils.build_auth(request, _get_provider(request))
    except Exception as error:  # the library raises plain exceptions for unusable metadata
        log.warning("The metadata of the identity provider is unusable: %s", error)
        raise PermissionDenied(UNREACHABLE) from error


def _go(
    request: HttpRequest, *, process: str, next_url: str, force_authn: bool = False
) -> HttpResponse:
    auth = _build_auth(request)
    url = auth.login(return_to="", force_authn=force_authn)
    _get_provider(request).stash_redirect_state(
        request, process, next_url, state_id=auth.get_last_request_id()
    )
    return HttpResponseRedirect(url)


@login_not_required
@_guard("GET", "HEAD")
def login(request: HttpRequest) -> HttpResponse:
    """Go to the identity provider to log in."""
    home = resolve_url(settings.LOGIN_REDIRECT_URL)
    if request.user.is_authenticated:
        return HttpResponseRedirect(home)
    return _go(request, process="login", next_url=find_next(request, home))


@_guard("GET", "HEAD")
def again(request: HttpRequest) -> HttpResponse:
    """Go to the identity provider to prove who one is, then continue."""
    back = urlencode({REDIRECT_FIELD_NAME: find_next(request, "/")})
    next_url = f"{reverse('single-sign-on-continue')}?{back}"
    away = _go(request, process="redirect", next_url=next_url, force_authn=True)
    return leave(request, away["Location"])


@csrf_exempt
@login_not_required
@_guard("POST")
def accept(request: HttpRequest) -> HttpResponse:
    """Check the answer that the browser brings from the identity provider, and keep it.

    A POST from another site has no cookie of the session, so the next request finishes the log-in.
    """
    answer = request.POST.get("SAMLResponse", "")
    auth = _build_auth(request)
    try:
        if len(answer) > ANSWER_MAX:
            raise ValueError(f"{len(answer)} characters")
        response = OneLogin_Saml2_Response(auth.get_settings(), answer)
        response.is_valid(utils.prepare_django_request(request), raise_exceptions=True)
    except ValidationError as error:
        if error.code == ValidationError.STATUS_CODE_IS_NOT_SUCCESS:
            return _cancel(request)
        log.warning("The identity provider's answer: %s", str(error)[:300])
        raise PermissionDenied(REASONS.get(error.code, REFUSED)) from error
    except Exception as error:  # for what is no XML, parser and library raise many kinds
        raise PermissionDenied(REFUSED) from error
    _check_profile(response, auth.get_settings().get_sp_data())
    kept: HttpResponse = views.acs(request, SLUG)
    return kept


def _cancel(request: HttpRequest) -> HttpResponse:
    answer: HttpResponse = render_authentication_error(
        request, _get_provider(request), error=AuthError.CANCELLED
    )
    return answer


def _check_profile(response: OneLogin_Saml2_Response, we: dict[str, Any]) -> None:
    """Check what python3-saml takes as optional. Source: SAML 2.0 Profiles, 4.1.4.2."""
    question = response.get_in_response_to()
    if not question:
        raise PermissionDenied(UNSOLICITED)
    subjects = OneLogin_Saml2_XML.query(response.document, "//saml:SubjectConfirmationData")
    url = we["assertionConsumerService"]["url"]
    for subject in subjects:
        # Inside of the signature, unlike InResponseTo of the response.
        if subject.get("InResponseTo") != question:
            raise PermissionDenied(FOREIGN)
        if subject.get("Recipient") != url:
            raise PermissionDenied(ELSEWHERE)
    if not all(subject.get("NotOnOrAfter") for subject in subjects) or not response.get_audiences():
        raise PermissionDenied(INCOMPLETE)


class Finish(views.FinishACSView):
    """The end of the log-in, with the rules of Loupe's provider."""

    def get_provider(self, organization_slug: str) -> IdentityProvider:
        return _get_provider(self.request)


@login_not_required
@_guard("GET")
def finish(request: HttpRequest) -> HttpResponse:
    """Finish the log-in with the answer that was kept."""
    try:
        answer: HttpResponse = Finish.as_view()(request, SLUG)
    except PermissionDenied as error:
        # Without a text: the question is not one of this session, or over ten minutes old.
        raise PermissionDenied(str(error) or FOREIGN) from error
    return answer


@login_not_required
@_guard("GET", "HEAD")
def metadata(request: HttpRequest) -> HttpResponse:
    """Show Loupe's metadata, for the identity provider."""
    try:
        app = _get_provider(request).app
        config = utils.build_saml_config(request, app.settings, SLUG)
    except Exception as error:  # as in _build_auth
        raise PermissionDenied(UNREACHABLE) from error
    del config["sp"]["singleLogoutService"]  # log-out ends the session here only
    found = OneLogin_Saml2_Settings(settings=config, sp_validation_only=True)
    return HttpResponse(found.get_sp_metadata(), content_type="application/samlmetadata+xml")


@csrf_exempt
@login_not_required
def logout(request: HttpRequest, organization_slug: str) -> HttpResponse:
    """Refuse single log-out; django-allauth needs the name of its page."""
    raise Http404
