from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings
from django.core.cache import close_caches
from django.core.signals import request_finished, request_started
from django.db import reset_queries


class LoupeConfig(AppConfig):
    name = "config"
    verbose_name = "Loupe"

    def ready(self) -> None:
        if not settings.DEBUG:
            # Looking, around every request, for queries that are logged under DEBUG alone and for caches that have
            # something to close (memcached's; no setting leads to one) took a sixtieth of a decision.
            request_started.disconnect(reset_queries)
            request_finished.disconnect(close_caches)
