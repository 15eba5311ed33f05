from __future__ import annotations

from axes.apps import AppConfig as AxesConfig
from django.apps import AppConfig
from django.db.backends.signals import connection_created

from config.thread_connections import close_with_thread


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
