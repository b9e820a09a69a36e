"""What tenants used, and what currencies are worth."""

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q

from apps.core.models import BaseModel
from apps.tenants.models import Tenant, currency_validator

from ..choices import Driver


class Usage(models.Model):
    """How much of a driver a tenant used on a day; what costs are shared by."""

    AUDIT_EXEMPT = "counted by telemetry, not decided by anybody"

    id = models.BigAutoField(primary_key=True)
    day = models.DateField()
    driver = models.CharField(max_length=10, choices=Driver.choices)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="usage")
    amount = models.DecimalField(max_digits=24, decimal_places=6, validators=[MinValueValidator(0)])

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", "driver", "tenant"], name="usage_once_a_day")]

    def __str__(self) -> str:
        return f"{self.driver} of tenant {self.tenant_id} on {self.day}"


class MonthlyUsage(models.Model):
    """Usage of a tenant's month: the sum of its days, of what is held their mean. What prices are reckoned by."""

    AUDIT_EXEMPT = "added up from usage by day"

    id = models.BigAutoField(primary_key=True)
    month = models.DateField()
    driver = models.CharField(max_length=10, choices=Driver.choices)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    amount = models.DecimalField(max_digits=30, decimal_places=6)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["month", "driver", "tenant"], name="usage_once_a_month")
        ]

    def __str__(self) -> str:
        return f"{self.driver} of tenant {self.tenant_id} in {self.month:%Y-%m}"


class Rate(BaseModel):
    """What one unit of a currency was worth in another from a day on, until the next rate."""

    currency = models.CharField(max_length=3, validators=[currency_validator])
    into = models.CharField(max_length=3, validators=[currency_validator])
    day = models.DateField()
    rate = models.DecimalField(max_digits=20, decimal_places=10, validators=[MinValueValidator(0)])

    class Meta:
        ordering = ["-day", "currency"]
        constraints = [
            models.UniqueConstraint(fields=["currency", "into", "day"], name="rate_once_a_day"),
            models.CheckConstraint(condition=Q(rate__gt=0), name="rate_is_positive"),
            models.CheckConstraint(condition=~Q(currency=F("into")), name="rate_between_two"),
        ]

    def __str__(self) -> str:
        return f"1 {self.currency} = {self.rate} {self.into} from {self.day}"
