from __future__ import annotations

from django.apps import AppConfig
from django.db.backends.signals import connection_created

from config.thread_connections import close_with_thread


class LoupeConfig(AppConfig):
    name = "config"
    verbose_name = "Loupe"

    def ready(self) -> None:
        connection_created.connect(close_with_thread)
