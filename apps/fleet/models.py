"""Cells, instances, placements; what was last seen of them; what the simulated provider remembers."""

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Upper
from django.utils import timezone

from apps.accounts.models import Account, Region, name_validator
from apps.core.models import BaseModel
from apps.tenants.models import Tenant

from .choices import Fault, Health, InstanceKind, ProviderName, Wanted


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
    (`wanted`, `wanted_version`), and what was seen (`health` and after). Nobody but the engine
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
    """Coarse history of one instance: a row every quarter of a minute, kept two days.

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


class Certificate(models.Model):
    """What an instance really serves, as the last handshake saw it. What could not be seen keeps what was seen before."""

    AUDIT_EXEMPT = "observed, not decided"

    instance = models.OneToOneField(
        Instance, on_delete=models.CASCADE, primary_key=True, related_name="certificate"
    )
    subject = models.CharField(max_length=300, blank=True)
    issuer = models.CharField(max_length=300, blank=True)
    names = models.JSONField(default=list, blank=True, help_text="DNS names and addresses it is for")
    not_before = models.DateTimeField(null=True, blank=True)
    not_after = models.DateTimeField(null=True, blank=True)
    fingerprint = models.CharField(max_length=64, blank=True, help_text="SHA-256, in hex")
    key = models.CharField(max_length=40, blank=True)
    is_weak = models.BooleanField(default=False)
    is_mismatched = models.BooleanField(default=False, help_text="it is not for the host of the endpoint")
    is_ours = models.BooleanField(default=False, help_text="issued by the internal authority")
    error = models.CharField(max_length=300, blank=True, help_text="why the last handshake failed")
    served_since = models.DateTimeField(null=True, blank=True, help_text="when it was first seen")
    looked_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["not_after"]
        indexes = [
            models.Index(fields=["not_after"], name="certificate_by_end"),
            models.Index(fields=["looked_at"], name="certificate_by_look"),
        ]

    def __str__(self) -> str:
        return f"certificate of instance {self.instance_id}"


class RenewalPolicy(BaseModel):
    """Certificates of the internal authority are renewed by themselves: in an account, or everywhere."""

    account = models.ForeignKey(Account, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    share = models.PositiveSmallIntegerField(
        default=67, help_text="per cent of its life after which one is renewed"
    )
    at_once = models.PositiveSmallIntegerField(
        default=5, help_text="rotations under way at a time, in one cell of an account"
    )
    is_enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ["account__name"]
        verbose_name_plural = "renewal policies"
        constraints = [
            models.UniqueConstraint(fields=["account"], name="renewal_once", nulls_distinct=False),
            models.CheckConstraint(
                condition=models.Q(share__gte=10, share__lte=95, at_once__gte=1), name="renewal_has_limits"
            ),
        ]

    def __str__(self) -> str:
        return f"renewal of certificates in {self.account or 'every account'}"

    def event_context(self) -> dict[str, int | None]:
        return {"account_id": self.account_id}


class SimulatedInstance(models.Model):
    """The simulated provider's whole reality of one instance, and the faults it was ordered to have."""

    AUDIT_EXEMPT = "it plays the world outside the portal"

    instance = models.OneToOneField(
        Instance, on_delete=models.CASCADE, primary_key=True, related_name="simulated"
    )
    state = models.CharField(max_length=10, default="running")
    version = models.CharField(max_length=40)
    generation = models.PositiveBigIntegerField(default=1)
    ready_at = models.DateTimeField(null=True, blank=True, help_text="until then it is starting")
    effects = models.PositiveBigIntegerField(default=0, help_text="changes applied so far")
    crash_on_version = models.CharField(max_length=40, blank=True)
    fault = models.CharField(max_length=10, choices=Fault.choices, default=Fault.NONE)
    fault_value = models.FloatField(default=0, help_text="slow: seconds; flaky: probability")

    def __str__(self) -> str:
        return f"simulated instance {self.instance_id}"


class SimulatedEffect(models.Model):
    """One change that the simulated provider really applied."""

    AUDIT_EXEMPT = "it plays the world outside the portal"

    id = models.BigAutoField(primary_key=True)
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="effects")
    kind = models.CharField(max_length=10)
    version = models.CharField(max_length=40)
    generation = models.PositiveBigIntegerField()
    at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.kind} on instance {self.instance_id}"
