"""Fill the new columns of existing reviews, and create the single row of the word statistics."""

from __future__ import annotations

from django.db import migrations


def fill(apps, schema_editor):
    review, decision = (
        apps.get_model("moderation", "Review"),
        apps.get_model("moderation", "Decision"),
    )
    for row in review.objects.select_related("asset__request").iterator(chunk_size=500):
        last = (
            decision.objects.filter(review=row, reversed_by=None)
            .exclude(verdict="reopen")
            .order_by("-sequence")
            .first()
        )
        review.objects.filter(pk=row.pk).update(
            headline_l1=row.headline.partition(".")[0],
            source=row.asset.source,
            provider=row.asset.request.provider if row.asset.request else "",
            decided_by=last.reviewer_id
            if last and row.status in ("approved", "rejected")
            else None,
        )
    apps.get_model("moderation", "TallyProgress").objects.get_or_create(pk=1)


class Migration(migrations.Migration):
    dependencies = [("moderation", "0006_desk"), ("generation", "0007_fill_lookup")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
