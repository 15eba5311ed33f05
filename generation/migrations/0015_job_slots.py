"""Call pump slots job slots. The rows hold leases of a minute at most, so none is worth keeping."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("generation", "0014_calls_of_minute")]

    operations = [migrations.RenameModel("PumpSlot", "JobSlot")]
