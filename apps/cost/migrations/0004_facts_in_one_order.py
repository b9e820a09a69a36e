from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """One index on daily facts, in the order in which they are written."""

    atomic = False
    dependencies = [("cost", "0003_fill_rollups")]
    operations = [
        AddIndexConcurrently("dailycost", models.Index(fields=["run", "tenant", "day"], name="dailycost_run_tenant_day")),
        RemoveIndexConcurrently("dailycost", "dailycost_run_day"),
        RemoveIndexConcurrently("dailycost", "dailycost_tenant_day"),
    ]
