"""Store the requester with the review, so that they are not given their own images."""

from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import OuterRef, Subquery
from django.db.models.functions import Coalesce

# Index name to its columns between the status and decided_at.
INDEXES = {
    "queue": ["-priority", "id", "headline_l1", "created_at", "claimed_until"],
    "oldest": ["id", "headline_l1", "source", "provider"],
    "category": ["headline_l1", "-priority", "id", "source", "provider"],
    "source": ["source", "-priority", "id", "headline_l1", "provider"],
    "provider": ["provider", "-priority", "id", "headline_l1", "source"],
}


def fill(apps, schema_editor):
    asset, review = apps.get_model("generation", "Asset"), apps.get_model("moderation", "Review")
    person = Coalesce(
        "request__requested_by", "request__api_key__owner", "stored_by", "api_key__owner"
    )
    named = asset.objects.filter(pk=OuterRef("asset")).values(person=person)
    review.objects.update(requested_by=Subquery(named))


def indexes():
    for name, fields in INDEXES.items():
        yield migrations.RemoveIndex(model_name="review", name=f"review_{name}")
        yield migrations.AddIndex(
            model_name="review",
            index=models.Index(
                condition=models.Q(("decided_at__isnull", True)),
                fields=["status", *fields, "requested_by", "decided_at"],
                name=f"review_{name}",
            ),
        )


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("generation", "0010_keys_of_assets"),
        ("moderation", "0016_admin_site_by_permission"),
    ]

    operations = [
        migrations.AddField(
            model_name="review",
            name="requested_by",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="requested_reviews",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
        *indexes(),
    ]
