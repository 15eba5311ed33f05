from __future__ import annotations

from django.apps import AppConfig


class ModerationConfig(AppConfig):
    name = "moderation"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from generation.services import spending
        from moderation import receivers  # noqa: F401  (importing connects the one receiver of asset_stored)
        from moderation.services import costs

        spending.register("classifiers", costs.billed_since)
