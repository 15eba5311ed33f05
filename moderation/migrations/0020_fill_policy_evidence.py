"""Fill the new columns of 0019: categories, missing confidences, activations, policy effects."""

from __future__ import annotations

from django.db import migrations
from django.db.models import F, Min, Q

# The value of found_categories.BITS at the time of this migration.
BITS = {
    "explicit": 1,
    "non-explicit": 2,
    "swimwear-underwear": 4,
    "violence": 8,
    "visually-disturbing": 16,
    "drugs-tobacco": 32,
    "alcohol": 64,
    "rude-gestures": 128,
    "gambling": 256,
    "hate-symbols": 512,
}
# The only classifier without confidences; its labels had 50 instead.
WITHOUT_CONFIDENCE = "scenario"


def forget_invented_confidences(apps, schema_editor):
    label, review = apps.get_model("moderation", "Label"), apps.get_model("moderation", "Review")
    label.objects.filter(classification__classifier=WITHOUT_CONFIDENCE).update(confidence=None)
    rows = review.objects.filter(source="scenario", said__isnull=False).only("pk", "said")
    for row in rows.iterator(chunk_size=500):
        for run in row.said:
            if run["classifier"] == WITHOUT_CONFIDENCE:
                run["parts"] = [[category, None, box] for category, _, box in run["parts"]]
        review.objects.filter(pk=row.pk).update(said=row.said)


def note_found(apps, schema_editor):
    label, review = apps.get_model("moderation", "Label"), apps.get_model("moderation", "Review")
    says = label.objects.filter(Q(confidence__isnull=True) | Q(confidence__gt=0))
    for slug, bit in BITS.items():
        of_group = says.filter(Q(category=slug) | Q(category__startswith=f"{slug}."))
        found_in = of_group.values("classification__asset_id")
        review.objects.filter(asset_id__in=found_in).update(found=F("found").bitor(bit))


def note_activations(apps, schema_editor):
    """Record the activation of the first policy, which its own migration activated without one."""
    policy, activation = (
        apps.get_model("moderation", "Policy"),
        apps.get_model("moderation", "PolicyActivation"),
    )
    for row in policy.objects.annotate(first=Min("activations__created_at")).filter(
        activated_at__isnull=False
    ):
        known = [row.first, row.activated_at, row.created_at if row.version == 1 else None]
        first = min(time for time in known if time)
        if row.first != first:
            activation.objects.create(policy_id=row.pk, created_at=first)
        policy.objects.filter(pk=row.pk).update(activated_at=first)


def keep_what_policies_did(apps, schema_editor):
    """Let used policies approve imports: they did so before the setting existed."""
    policy = apps.get_model("moderation", "Policy")
    for row in policy.objects.all():
        used = row.review_set.exists() or row.decision_set.exists()
        policy.objects.filter(pk=row.pk).update(approves_imports=used)


def fill(apps, schema_editor):
    forget_invented_confidences(apps, schema_editor)
    note_found(apps, schema_editor)
    note_activations(apps, schema_editor)
    keep_what_policies_did(apps, schema_editor)


def unfill(apps, schema_editor):
    """Restore the confidence that labels were required to have."""
    label = apps.get_model("moderation", "Label")
    label.objects.filter(confidence__isnull=True).update(confidence=50)


class Migration(migrations.Migration):
    dependencies = [("moderation", "0019_policy_evidence")]

    operations = [migrations.RunPython(fill, unfill)]
