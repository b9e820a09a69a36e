import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0006_history_by_days")]

    operations = [
        migrations.CreateModel(
            name="Probe",
            fields=[
                (
                    "instance",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="probe",
                        serialize=False,
                        to="fleet.instance",
                    ),
                ),
                ("due_at", models.DateTimeField()),
                ("claim", models.UUIDField(blank=True, null=True)),
                ("claimed_until", models.DateTimeField(blank=True, null=True)),
                ("failures", models.PositiveIntegerField(default=0)),
            ],
            options={
                "indexes": [models.Index(fields=["due_at"], name="probe_by_due")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(claim__isnull=True, claimed_until__isnull=True)
                        | models.Q(claim__isnull=False, claimed_until__isnull=False),
                        name="probe_claim_has_an_end",
                    )
                ],
            },
        ),
    ]
