"""The instance's trigram index without a pending list, which every search would read whole."""

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import migrations
from django.db.models.functions import Upper


class Migration(migrations.Migration):
    dependencies = [("fleet", "0001_initial")]

    operations = [
        migrations.RemoveIndex(model_name="instance", name="instance_name_trgm"),
        migrations.AddIndex(
            model_name="instance",
            index=GinIndex(OpClass(Upper("name"), name="gin_trgm_ops"), fastupdate=False, name="instance_name_trgm"),
        ),
    ]
