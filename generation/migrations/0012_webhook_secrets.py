"""Give every key its own webhook secret.

Existing keys keep the secret that was derived from SECRET_KEY, so that receivers still verify it.
"""

from django.db import migrations, models
from django.utils.crypto import salted_hmac

import generation.models.api_keys


def keep_derived_secrets(apps, schema_editor):
    keys = apps.get_model("generation", "ApiKey").objects.using(schema_editor.connection.alias)
    for key in keys.filter(webhook_secret="").iterator():
        key.webhook_secret = salted_hmac(
            "moderation.gateway.webhook", str(key.uuid), algorithm="sha256"
        ).hexdigest()
        key.save(update_fields=["webhook_secret"])


class Migration(migrations.Migration):
    dependencies = [("generation", "0011_exact_numbers")]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="webhook_secret",
            field=models.CharField(default="", editable=False, max_length=64),
        ),
        migrations.RunPython(keep_derived_secrets, migrations.RunPython.noop),
        migrations.AlterField(
            model_name="apikey",
            name="webhook_secret",
            field=models.CharField(
                default=generation.models.api_keys.make_webhook_secret,
                editable=False,
                max_length=64,
            ),
        ),
    ]
