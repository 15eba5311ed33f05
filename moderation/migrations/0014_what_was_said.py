"""Store the classifiers' results with the review. Older reviews read them from the tables."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("moderation", "0013_todays_verdicts")]

    operations = [
        migrations.AddField(
            model_name="review",
            name="said",
            field=models.JSONField(blank=True, editable=False, null=True),
        ),
    ]
