"""Count exposure in steps of five minutes, which add up to the last 60 minutes at any time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import migrations, models
from django.utils import timezone

STEP, LAST_STEP = timedelta(minutes=5), timedelta(minutes=55)


def move_to_newest_step(apps: Any, schema_editor: Any) -> None:
    """Move the counts of the last two clock hours to their end, so that none expires early."""
    exposure = apps.get_model("moderation", "Exposure")
    now = timezone.now()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    step, hour = now - (now - midnight) % STEP, now.replace(minute=0, second=0, microsecond=0)
    rows = exposure.objects.using(schema_editor.connection.alias)
    rows.filter(started_at=hour).update(started_at=step)
    rows.filter(started_at=hour - timedelta(hours=1)).update(
        started_at=hour - timedelta(hours=1) + LAST_STEP
    )


class Migration(migrations.Migration):
    dependencies = [
        ("moderation", "0017_requested_by"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="exposure", name="exposure_once_an_hour"),
        migrations.RenameField(model_name="exposure", old_name="hour", new_name="started_at"),
        migrations.AddConstraint(
            model_name="exposure",
            constraint=models.UniqueConstraint(
                fields=["user", "started_at"], name="exposure_once_a_step"
            ),
        ),
        migrations.RunPython(move_to_newest_step, migrations.RunPython.noop),
    ]
