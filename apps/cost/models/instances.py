"""What single instances did and cost, as far as measurements and bill lines name them."""

from django.db import models
from django.db.models import Q

from apps.fleet.models import Instance

from .bills import DIGITS, Statement


class InstanceDay(models.Model):
    """What one instance did on a day, while it was measured: `seconds` of the day."""

    AUDIT_EXEMPT = "counted from measurements, not decided by anybody"

    id = models.BigAutoField(primary_key=True)
    day = models.DateField()
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="days")
    seconds = models.FloatField(help_text="from the first measurement of the day to the last")
    requests = models.FloatField()
    cpu = models.FloatField(help_text="CPU seconds")
    memory = models.FloatField(help_text="the most resident bytes")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", "instance"], name="instanceday_once")]

    def __str__(self) -> str:
        return f"instance {self.instance_id} on {self.day}"


class InstanceCost(models.Model):
    """What the lines of a statement that name an instance as their resource come to; without one: lines that name none.

    Each statement has the row without an instance once it was counted.
    """

    AUDIT_EXEMPT = "added up from bills, which are recorded"

    id = models.BigAutoField(primary_key=True)
    statement = models.ForeignKey(Statement, on_delete=models.CASCADE, related_name="instance_costs")
    instance = models.ForeignKey(Instance, null=True, on_delete=models.CASCADE, related_name="costs")
    billed = models.DecimalField(**DIGITS)
    lines = models.PositiveBigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["statement", "instance"], name="instancecost_once"),
            models.UniqueConstraint(
                fields=["statement"], condition=Q(instance__isnull=True), name="instancecost_rest_once"
            ),
        ]

    def __str__(self) -> str:
        return f"cost of instance {self.instance_id} in statement {self.statement_id}"
