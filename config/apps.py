from __future__ import annotations

from typing import Any

from axes.apps import AppConfig as AxesConfig
from django.apps import AppConfig
from django.conf import settings
from django.core.checks import register
from django.db.backends.signals import connection_created
from django.db.models.signals import post_save, pre_save

from config.checks import (
    check_classifiers_can_run,
    check_connections_are_encrypted,
    check_record_can_be_sealed,
)
from config.error_reports import start_sentry
from config.log_formats import configure_structlog
from config.thread_connections import close_abandoned
from config.tracing import start_tracing


def drop_parameters(instance: Any, **_: Any) -> None:
    """Delete the sent data of a failed log-in: it is not needed and may contain secrets."""
    instance.get_data = instance.post_data = ""


def end_sessions_of_inactive(instance: Any, **_: Any) -> None:
    """Delete the sessions of a deactivated account: they stay ended after a reactivation."""
    if not instance.is_active:
        from moderation.services import browser_sessions  # imports models

        browser_sessions.end_all(instance)


class LoginAttemptsConfig(AxesConfig):
    """App configuration of django-axes with a readable name."""

    verbose_name = "Log-in attempts"


class LoupeConfig(AppConfig):
    name = "config"
    verbose_name = "Loupe"
    default = True

    def ready(self) -> None:
        configure_structlog()
        if settings.SENTRY_DSN:
            start_sentry()
        if settings.OTEL_EXPORTER_OTLP_ENDPOINT:
            start_tracing()
        register(check_classifiers_can_run, deploy=True)
        register(check_connections_are_encrypted, deploy=True)
        register(check_record_can_be_sealed, deploy=True)
        connection_created.connect(close_abandoned)
        pre_save.connect(drop_parameters, sender="axes.AccessAttempt")
        # Imports models, which are not loaded before this.
        from allauth.account.signals import authentication_step_completed
        from allauth.mfa.signals import authentication_failed
        from django.contrib.auth.signals import user_logged_in

        from config.auth.login_log import log_step, log_wrong_code
        from config.middleware import note_login

        user_logged_in.connect(note_login)
        authentication_step_completed.connect(log_step)
        authentication_failed.connect(log_wrong_code)
        post_save.connect(end_sessions_of_inactive, sender="auth.User")
