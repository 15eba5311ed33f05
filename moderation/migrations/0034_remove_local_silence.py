"""Remove ``trusts_local_silence``, which 0033 replaced."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("moderation", "0033_policy_coverage")]

    operations = [migrations.RemoveField(model_name="policy", name="trusts_local_silence")]
