from __future__ import annotations

from typing import Any

from axes.apps import AppConfig as AxesConfig
from django.apps import AppConfig
from django.db.backends.signals import connection_created
from django.db.models.signals import pre_save

from config.thread_connections import close_with_thread


def drop_parameters(instance: Any, **_: Any) -> None:
    """Store a failed log-in without what was sent: form tokens and query strings serve nobody and
    may be secrets.
    """
    instance.get_data = instance.post_data = ""


class LoginAttemptsConfig(AxesConfig):  # type: ignore[misc]  # axes has no types
    """django-axes under the name of what it keeps."""

    verbose_name = "Log-in attempts"


class LoupeConfig(AppConfig):
    name = "config"
    verbose_name = "Loupe"
    default = True

    def ready(self) -> None:
        from config import checks  # noqa: F401  # for what it does: it registers its checks

        connection_created.connect(close_with_thread)
        pre_save.connect(drop_parameters, sender="axes.AccessAttempt")
