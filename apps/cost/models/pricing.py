"""The price book beside plans: metered prices by tier, discounts, commitments; and revenue as invoices tell it."""

from datetime import date
from decimal import Decimal
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from apps.core.models import BaseModel
from apps.tenants.models import Plan, Tenant, currency_validator

from ..choices import Driver, RevenueSource
from ..pricing import check_tiers


class Dated(BaseModel):
    """Something that counts from a day on, until its last day or for ever."""

    starts_on = models.DateField()
    ends_on = models.DateField(null=True, blank=True, help_text="its last day; empty: until further notice")

    class Meta:
        abstract = True
        constraints: ClassVar[list[Any]] = [
            models.CheckConstraint(
                condition=Q(ends_on__isnull=True) | Q(ends_on__gte=F("starts_on")),
                name="%(class)s_ends_after_start",
            )
        ]

    def clean(self) -> None:
        """Raises ValidationError where it ends before it starts."""
        starts: date | None = self.starts_on  # nothing where the form was not filled in
        if self.ends_on and starts and self.ends_on < starts:
            raise ValidationError({"ends_on": "It would end before it starts."})


class Price(Dated):
    """What a plan charges for a month's usage of a meter, by graduated tiers.

    `tiers` in order: `[{"up_to": "1000", "price": "0"}, {"up_to": null, "price": "0.002"}]`; each unit costs what its tier says.
    """

    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="prices")
    meter = models.CharField(max_length=10, choices=Driver.choices)
    currency = models.CharField(max_length=3, validators=[currency_validator])
    tiers = models.JSONField()

    class Meta(Dated.Meta):
        ordering = ["plan__rank", "meter", "-starts_on"]
        constraints = [
            *Dated.Meta.constraints,
            models.UniqueConstraint(
                fields=["plan", "meter", "currency", "starts_on"], name="price_once_a_day"
            ),
        ]

    def __str__(self) -> str:
        return f"price of {self.meter} in plan {self.plan_id} from {self.starts_on}"

    def clean(self) -> None:
        """Raises ValidationError for tiers that do not rise, or prices below nothing."""
        super().clean()
        try:
            check_tiers(self.tiers)
        except ValueError as error:
            raise ValidationError({"tiers": str(error)}) from error


class OfTenant(Dated):
    """An agreement with one tenant."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="%(class)ss")

    class Meta(Dated.Meta):
        abstract = True

    def event_context(self) -> dict[str, int | None]:
        return {"tenant_id": self.tenant_id}


class Discount(OfTenant):
    """What a tenant is let off, in percent of all it is charged for a month that begins within its days."""

    percent = models.DecimalField(
        max_digits=5,
        decimal_places=2,
        validators=[MinValueValidator(Decimal("0.01")), MaxValueValidator(100)],
    )
    note = models.CharField(max_length=200, blank=True)

    class Meta(OfTenant.Meta):
        ordering = ["-starts_on", "tenant_id"]
        constraints: ClassVar[list[Any]] = [
            *OfTenant.Meta.constraints,
            models.UniqueConstraint(fields=["tenant", "starts_on"], name="discount_once_a_day"),
            models.CheckConstraint(
                condition=Q(percent__gt=0) & Q(percent__lte=100), name="discount_is_a_part"
            ),
        ]

    def __str__(self) -> str:
        return f"discount of {self.percent} % for tenant {self.tenant_id}"


class Commitment(OfTenant):
    """What a tenant pays at least for each month that begins within its days."""

    currency = models.CharField(max_length=3, validators=[currency_validator])
    monthly_minimum = models.DecimalField(max_digits=14, decimal_places=2, validators=[MinValueValidator(0)])

    class Meta(OfTenant.Meta):
        ordering = ["-starts_on", "tenant_id"]
        constraints: ClassVar[list[Any]] = [
            *OfTenant.Meta.constraints,
            models.UniqueConstraint(fields=["tenant", "starts_on"], name="commitment_once_a_day"),
            models.CheckConstraint(condition=Q(monthly_minimum__gte=0), name="commitment_not_below_nothing"),
        ]

    def __str__(self) -> str:
        return f"commitment of tenant {self.tenant_id} from {self.starts_on}"


class Revenue(models.Model):
    """One month's part of one invoice line. Without a tenant where no external id names its customer yet."""

    AUDIT_EXEMPT = "copied from invoices; each import is told as an event"

    id = models.BigAutoField(primary_key=True)
    source = models.CharField(max_length=10, choices=RevenueSource.choices)
    line = models.CharField(max_length=120, help_text="the line's id there")
    customer = models.CharField(max_length=120, help_text="the customer's id there")
    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.PROTECT, related_name="revenue")
    month = models.DateField()
    currency = models.CharField(max_length=3)
    amount = models.DecimalField(max_digits=20, decimal_places=2)
    description = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "line", "month"], name="revenue_line_once")]
        indexes = [models.Index(fields=["month", "tenant"], name="revenue_month_tenant")]

    def __str__(self) -> str:
        return f"revenue {self.source} {self.line} in {self.month:%Y-%m}"
