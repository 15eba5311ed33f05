"""Name the preference after the cover of an image."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("moderation", "0025_plain_help_texts")]

    operations = [migrations.RenameField("preferences", "veil_again", "cover_again")]
