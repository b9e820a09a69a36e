"""The first months of the event table."""

from datetime import UTC, datetime

from django.db import migrations


def make(apps, schema_editor):
    from apps.core.partitions import make_months

    make_months(datetime.now(UTC).date())


class Migration(migrations.Migration):
    dependencies = [("core", "0001_initial")]
    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
