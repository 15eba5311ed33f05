from __future__ import annotations

from django.apps import AppConfig


class LoupeConfig(AppConfig):
    name = "config"
    verbose_name = "Loupe"
