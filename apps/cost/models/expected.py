"""Expected revenue as it was reckoned once, and by which state of the books: what pages read in place of reckoning."""

from django.db import models
from django.db.models import F, Q

from apps.tenants.models import Plan, Tenant

from ..choices import Input


class InputChange(models.Model):
    """How often something that expected revenue is reckoned from changed, for the months from `first` to `last`.

    Written by triggers on the tables themselves, in the transaction of the change, so that no way of writing slips by.
    Rows are only ever added, or added up: a month's version is the sum of `count` over the rows that span it. Two
    transactions that change the same input wait for nobody.
    """

    AUDIT_EXEMPT = "counted by triggers; the changes themselves are recorded"

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=12, choices=Input.choices)
    first = models.DateField(help_text="the first month that it counts for")
    last = models.DateField(null=True, help_text="the last month; nothing: all months after")
    count = models.PositiveBigIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(last__isnull=True) | Q(last__gte=F("first")), name="inputchange_span"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} changed from {self.first:%Y-%m} on"


class ExpectedMonth(models.Model):
    """That a month's expected revenue is kept in a currency. It counts while `version` is the month's version."""

    AUDIT_EXEMPT = "reckoned from prices, subscriptions and usage, which are recorded"

    id = models.BigAutoField(primary_key=True)
    currency = models.CharField(max_length=3)
    month = models.DateField()
    version = models.PositiveBigIntegerField()
    reckoned_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["currency", "month"], name="expectedmonth_once")]

    def __str__(self) -> str:
        return f"expected revenue of {self.month:%Y-%m} in {self.currency}"


class ExpectedRevenue(models.Model):
    """What one tenant is expected to pay for a month, to the cent. Without an amount where only its plan is known."""

    AUDIT_EXEMPT = "reckoned from prices, subscriptions and usage, which are recorded"

    id = models.BigAutoField(primary_key=True)
    currency = models.CharField(max_length=3)
    month = models.DateField()
    tenant = models.ForeignKey(
        Tenant, on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    plan = models.ForeignKey(
        Plan, null=True, on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False,
        help_text="of its last subscription in the month",
    )  # fmt: skip
    amount = models.DecimalField(max_digits=40, decimal_places=2, null=True)
    missing = models.CharField(
        max_length=200, blank=True, help_text="currencies without a rate, whose amounts are left out"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["currency", "month", "tenant"], name="expectedrevenue_once_a_month"
            )
        ]

    def __str__(self) -> str:
        return f"expected revenue of tenant {self.tenant_id} in {self.month:%Y-%m}"
