from __future__ import annotations

from django.apps import AppConfig


class ModerationConfig(AppConfig):
    name = "moderation"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.db.models.signals import post_migrate

        from generation.services import spending
        from generation.signals import asset_stored
        from moderation import receivers
        from moderation.services import costs

        asset_stored.connect(receivers.open_review)
        post_migrate.connect(receivers.apply_starting_policy, sender=self)
        spending.register_source("classifiers", costs.sum_billed)
