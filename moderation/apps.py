from __future__ import annotations

from django.apps import AppConfig


class ModerationConfig(AppConfig):
    name = "moderation"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.contrib.auth.models import Group, User
        from django.db.models.signals import m2m_changed, post_delete, post_migrate, post_save

        from generation.services import spending
        from generation.signals import asset_shown, asset_stored
        from moderation import receivers
        from moderation.services import costs

        asset_stored.connect(receivers.open_review)
        asset_shown.connect(receivers.note_view)
        post_migrate.connect(receivers.apply_starting_policy, sender=self)
        post_migrate.connect(receivers.seal_new_record, sender=self)
        for signal in (post_save, post_delete):
            signal.connect(receivers.record_account, sender=User)
        for through in (User.groups.through, User.user_permissions.through):
            m2m_changed.connect(receivers.record_groups, sender=through)
        m2m_changed.connect(receivers.record_permissions, sender=Group.permissions.through)
        post_save.connect(receivers.record_saved_group, sender=Group)
        post_delete.connect(receivers.record_deleted_group, sender=Group)
        spending.register_source("classifiers", costs.sum_billed)
