"""Pages of the log-in: those of django-allauth that are open, and Loupe's own.

django-allauth looks its pages up by these names. Sign-up, connections with other accounts and the
management of mail addresses have no URL.
"""

from __future__ import annotations

import importlib.util

from allauth.account import views as account_views
from allauth.mfa.base import views as mfa
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as webauthn
from django.contrib.auth.decorators import login_not_required
from django.urls import path

from config.auth import oidc, views

urlpatterns = [
    path("login/", views.Login.as_view(), name="account_login"),
    path("login/code/", mfa.authenticate, name="mfa_authenticate"),
    path(
        "login/passkey/",
        login_not_required(views.PasskeyLogin.as_view()),
        name="mfa_login_webauthn",
    ),
    path("login/inactive/", account_views.account_inactive, name="account_inactive"),
    path("logout/", views.Logout.as_view(), name="account_logout"),
    path("password/", views.PasswordChange.as_view(), name="password-change"),
    path("password/forgotten/", views.PasswordReset.as_view(), name="account_reset_password"),
    path(
        "password/forgotten/sent/",
        account_views.password_reset_done,
        name="account_reset_password_done",
    ),
    path(
        "password/forgotten/<str:uidb36>/<str:key>/",
        views.PasswordResetFromKey.as_view(),
        name="account_reset_password_from_key",
    ),
    path(
        "password/forgotten/done/",
        account_views.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    path("reauthenticate/", views.Reauthenticate.as_view(), name="account_reauthenticate"),
    path("reauthenticate/code/", views.ReauthenticateByCode.as_view(), name="mfa_reauthenticate"),
    path(
        "reauthenticate/passkey/",
        views.ReauthenticateByPasskey.as_view(),
        name="mfa_reauthenticate_webauthn",
    ),
    path("reauthenticate/download/", views.download_start, name="download-start"),
    path("reauthenticate/sso/", oidc.again, name="single-sign-on-again"),
    path("reauthenticate/continue/", oidc.resume, name="single-sign-on-continue"),
    path("sso/<slug:provider_id>/login/", oidc.login, name="openid_connect_login"),
    path("sso/<slug:provider_id>/callback/", oidc.callback, name="openid_connect_callback"),
    path(
        "sso/cancelled/",
        login_not_required(views.single_sign_on_cancel),
        name="socialaccount_login_cancelled",
    ),
    path("factors/", mfa.index, name="mfa_index"),
    path("factors/app/", totp.activate_totp, name="mfa_activate_totp"),
    path("factors/app/removal/", totp.deactivate_totp, name="mfa_deactivate_totp"),
    path(
        "factors/recovery-codes/",
        views.RecoveryCodes.as_view(),
        name="mfa_view_recovery_codes",
    ),
    path(
        "factors/recovery-codes/new/",
        views.RecoveryCodesRenewal.as_view(),
        name="mfa_generate_recovery_codes",
    ),
    path("factors/passkeys/new/", webauthn.add_webauthn, name="mfa_add_webauthn"),
    path(
        "factors/passkeys/<int:pk>/removal/",
        views.PasskeyRemoval.as_view(),
        name="mfa_remove_webauthn",
    ),
]

if importlib.util.find_spec("onelogin") is not None:  # the extra `saml` is installed
    from config.auth import saml

    urlpatterns += [
        path("reauthenticate/saml/", saml.again, name="saml-again"),
        path("saml/<slug:organization_slug>/login/", saml.login, name="saml_login"),
        path("saml/<slug:organization_slug>/acs/", saml.accept, name="saml_acs"),
        path("saml/<slug:organization_slug>/acs/finish/", saml.finish, name="saml_finish_acs"),
        path("saml/<slug:organization_slug>/metadata/", saml.metadata, name="saml_metadata"),
        path("saml/<slug:organization_slug>/logout/", saml.logout, name="saml_sls"),
    ]
