"""The four roles, the first policy, and the head of the decision chain."""

from __future__ import annotations

from django.apps import apps as live_apps
from django.contrib.auth.management import create_permissions
from django.db import migrations
from django.utils import timezone

from moderation import roles

# Category, confidence from which a person reviews, confidence from which the policy rejects (None:
# never). Initial values on the classifiers' own scales, not validated on real images.
RULES = [
    ("explicit", 20, 90),
    ("non-explicit", 30, None),
    ("swimwear-underwear", 50, None),
    ("violence", 30, 95),
    ("visually-disturbing", 30, None),
    ("drugs-tobacco", 40, None),
    ("alcohol", 50, None),
    ("rude-gestures", 40, None),
    ("gambling", 50, None),
    ("hate-symbols", 20, 90),
]
NOTE = (
    "The policy Loupe starts with. It rejects by itself only what a classifier is all but sure of, asks a person about every "
    "other finding, and approves only when every category below was looked for and nothing was found."
)


def make(apps, schema_editor):
    # Permissions are normally created after the last migration, but the groups need them here.
    for label in ("generation", "moderation"):
        config = live_apps.get_app_config(label)
        create_permissions(config, verbosity=0, apps=apps, using=schema_editor.connection.alias)
    roles.sync(apps.get_model("auth", "Group"), apps.get_model("auth", "Permission"))
    policy = apps.get_model("moderation", "Policy").objects.create(
        version=1,
        name="Starting policy",
        note=NOTE,
        is_active=True,
        activated_at=timezone.now(),
        nsfw_review_at=20,
        nsfw_reject_at=95,
    )
    rule = apps.get_model("moderation", "PolicyRule")
    for category, review_at, reject_at in RULES:
        rule.objects.create(
            policy=policy, category=category, review_at=review_at, reject_at=reject_at
        )
    apps.get_model("moderation", "ChainHead").objects.create(pk=1)


def unmake(apps, schema_editor):
    apps.get_model("moderation", "ChainHead").objects.all().delete()
    apps.get_model("moderation", "Policy").objects.filter(version=1).delete()
    apps.get_model("auth", "Group").objects.filter(name__in=roles.ROLES).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("moderation", "0002_append_only"),
        ("generation", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(make, unmake)]
