"""Cells, instances, placements; what was last seen of them."""

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Upper
from django.utils import timezone

from apps.accounts.models import Region, name_validator
from apps.core.models import BaseModel
from apps.tenants.models import Tenant

from ..choices import Health, InstanceKind, ProviderName, Wanted

#: Requests in hand at once that an instance starts with.
WORKERS = 16


class Cell(BaseModel):
    """One failure domain in a region: a cluster."""

    region = models.ForeignKey(Region, on_delete=models.PROTECT, related_name="cells")
    name = models.CharField(max_length=63, unique=True, validators=[name_validator])
    provider = models.CharField(max_length=20, choices=ProviderName.choices, default=ProviderName.LOCAL)
    capacity = models.PositiveIntegerField(default=100, help_text="instances it can hold")
    locked_reason = models.CharField(
        max_length=200,
        blank=True,
        help_text="not empty: no changing operation starts in this cell, and this is why",
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def event_context(self) -> dict[str, int | None]:
        return {"cell_id": self.pk, "account_id": self.region.account_id}


class Instance(BaseModel):
    """One deployment of the product in a cell.

    Three kinds of columns: what people decide (name, cell, kind, lock), what operations decide
    (`wanted`, `wanted_version`, `workers`), and what was seen (`health` and after). Nobody but the engine
    writes the second kind, nobody but a probe the third.
    """

    name = models.CharField(max_length=63, unique=True, validators=[name_validator])
    cell = models.ForeignKey(Cell, on_delete=models.PROTECT, related_name="instances")
    kind = models.CharField(max_length=10, choices=InstanceKind.choices, default=InstanceKind.DEDICATED)
    locked_reason = models.CharField(
        max_length=200,
        blank=True,
        help_text="not empty: no changing operation starts on this instance, and this is why",
    )

    wanted = models.CharField(max_length=8, choices=Wanted.choices, default=Wanted.RUNNING)
    wanted_version = models.CharField(max_length=40)
    workers = models.PositiveSmallIntegerField(
        default=WORKERS, db_default=WORKERS, help_text="requests it may have in hand at once"
    )

    health = models.CharField(max_length=10, choices=Health.choices, default=Health.UNKNOWN)
    health_detail = models.CharField(max_length=300, blank=True)
    health_since = models.DateTimeField(default=timezone.now)
    version = models.CharField(max_length=40, blank=True)
    generation = models.PositiveBigIntegerField(default=0, help_text="how often it was started")
    endpoint = models.CharField(max_length=200, blank=True)
    observed_at = models.DateTimeField(null=True, blank=True)

    AUDIT_EXCLUDE = (
        "updated_at",
        "created_at",
        "health",
        "health_detail",
        "health_since",
        "version",
        "generation",
        "endpoint",
        "observed_at",
    )

    class Meta:
        ordering = ["name"]
        indexes = [
            models.Index(fields=["cell", "health", "version"], name="instance_cell_health_version"),
            models.Index(fields=["health", "name"], name="instance_health_name"),
            models.Index(fields=["version", "name"], name="instance_version_name"),
            models.Index(
                fields=["-health_since"],
                name="instance_wrong",
                condition=models.Q(health__in=["failing", "degraded", "unknown"]),
            ),
            # No pending list: a search would read it whole, and names are seldom written.
            GinIndex(
                OpClass(Upper("name"), name="gin_trgm_ops"), name="instance_name_trgm", fastupdate=False
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """One that serves several cannot be called dedicated; see `Placement.clean`."""
        if self.kind == InstanceKind.DEDICATED and self.pk and self.placements.count() > 1:
            raise ValidationError({"kind": "It serves several tenants; a dedicated instance has one."})

    def event_context(self) -> dict[str, int | None]:
        return {"instance_id": self.pk, "cell_id": self.cell_id, "account_id": self.cell.region.account_id}


class Placement(BaseModel):
    """A tenant on an instance."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="placements")
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="placements")
    since = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["tenant__name"]
        constraints = [models.UniqueConstraint(fields=["instance", "tenant"], name="placement_once")]

    def __str__(self) -> str:
        return f"tenant {self.tenant_id} on instance {self.instance_id}"

    def clean(self) -> None:
        """A dedicated instance has one tenant: whoever is given that tenant is given the instance whole."""
        instance = Instance.objects.filter(pk=self.instance_id).first()
        if instance is None or instance.kind != InstanceKind.DEDICATED:
            return
        if instance.placements.exclude(pk=self.pk).exists():
            raise ValidationError({"instance": f"{instance} is dedicated to another tenant."})

    def event_context(self) -> dict[str, int | None]:
        return {"tenant_id": self.tenant_id, "instance_id": self.instance_id}


class Measurement(models.Model):
    """Coarse history of one instance: a row every quarter of a minute; partitioned by day (migration 0006).

    Counters as the instance tells them (they start again at 0 with it); a chart shows their rate.
    """

    AUDIT_EXEMPT = "observed, not decided"

    id = models.BigAutoField(primary_key=True)
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="measurements")
    at = models.DateTimeField(default=timezone.now)
    requests = models.FloatField(default=0, help_text="requests answered since it started")
    errors = models.FloatField(default=0, help_text="of these, answered with 5xx")
    seconds = models.FloatField(default=0, help_text="sum of the time they took, in seconds")
    cpu = models.FloatField(default=0, help_text="CPU seconds since it started")
    memory = models.FloatField(default=0, help_text="resident bytes")

    class Meta:
        indexes = [models.Index(fields=["instance", "-at"], name="measurement_instance_at")]

    def __str__(self) -> str:
        return f"instance {self.instance_id} at {self.at:%H:%M:%S}"


class Diagnostics(BaseModel):
    """One bundle collected from an instance: logs, metrics and process state at one moment."""

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="diagnostics")
    operation_id = models.BigIntegerField(unique=True)
    parts = models.JSONField(default=dict, help_text="named texts")
    size = models.PositiveIntegerField(default=0, help_text="bytes of text")

    AUDIT_EXCLUDE = ("updated_at", "created_at", "parts")

    class Meta:
        ordering = ["-created_at"]
        verbose_name_plural = "diagnostics"

    def __str__(self) -> str:
        return f"diagnostics of instance {self.instance_id} by operation {self.operation_id}"
