from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("generation", "0010_keys_of_assets")]

    operations = [
        migrations.AlterField(
            model_name="generationrequest",
            name="guidance_scale",
            field=models.FloatField(),
        ),
        migrations.AlterField(
            model_name="generationrequest",
            name="refiner_switch_at",
            field=models.FloatField(blank=True, null=True),
        ),
    ]
