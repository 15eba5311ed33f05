from __future__ import annotations

from axes.apps import AppConfig as AxesConfig
from django.apps import AppConfig
from django.db.backends.signals import connection_created

from config.thread_connections import close_with_thread


class LoginAttemptsConfig(AxesConfig):
    """django-axes under the name of what it keeps."""

    verbose_name = "Log-in attempts"


class LoupeConfig(AppConfig):
    name = "config"
    verbose_name = "Loupe"

    def ready(self) -> None:
        connection_created.connect(close_with_thread)
