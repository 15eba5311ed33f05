"""Rename pump slots to job slots; their rows are leases of a minute and are not kept."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("generation", "0014_calls_of_minute")]

    operations = [migrations.RenameModel("PumpSlot", "JobSlot")]
