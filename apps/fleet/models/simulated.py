"""What the simulated provider remembers."""

from django.db import models
from django.utils import timezone

from ..choices import Fault
from .places import WORKERS, Instance

#: Bytes that a simulated instance has in logs until they are cleared.
SPENT = 50_000_000


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
    workers = models.PositiveSmallIntegerField(default=WORKERS, db_default=WORKERS)
    disk = models.PositiveBigIntegerField(
        default=SPENT, db_default=SPENT, help_text="bytes of logs and leavings that can be cleared"
    )
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
