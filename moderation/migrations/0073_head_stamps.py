"""Time stamps of published heads."""

from __future__ import annotations

from django.db import migrations, models

from moderation import append_only


class Migration(migrations.Migration):
    dependencies = [
        ("moderation", "0072_access_traces"),
    ]

    operations = [
        migrations.RunPython(append_only.unlock, append_only.lock),
        migrations.RemoveConstraint(
            model_name="publishedhead",
            name="published_head_target_known",
        ),
        migrations.AddField(
            model_name="publishedhead",
            name="receipt",
            field=models.TextField(
                blank=True,
                db_default="",
                default="",
                help_text="Answer of the time stamp authority (RFC 3161), in Base64.",
                verbose_name="time stamp",
            ),
        ),
        migrations.AlterField(
            model_name="publishedhead",
            name="target",
            field=models.CharField(
                choices=[
                    ("file", "File"),
                    ("address", "Address"),
                    ("mail", "Mail"),
                    ("stamp", "Time stamp"),
                ],
                max_length=7,
            ),
        ),
        migrations.AddConstraint(
            model_name="publishedhead",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("target", "file"),
                    ("target", "address"),
                    ("target", "mail"),
                    ("target", "stamp"),
                    _connector="OR",
                ),
                name="published_head_target_known",
            ),
        ),
        migrations.RunPython(append_only.lock, append_only.unlock),
    ]
