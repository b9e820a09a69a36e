"""What is looked after: budgets, and costs out of the ordinary."""

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models

from apps.accounts.models import Account
from apps.core.models import BaseModel
from apps.tenants.models import Tenant, currency_validator

from ..choices import BudgetState
from .bills import DIGITS


class Budget(BaseModel):
    """What a month may cost: of all, of an account, of a tenant; of one service or all."""

    name = models.CharField(max_length=100, unique=True)
    account = models.ForeignKey(
        Account, null=True, blank=True, on_delete=models.PROTECT, related_name="budgets"
    )
    tenant = models.ForeignKey(
        Tenant, null=True, blank=True, on_delete=models.PROTECT, related_name="budgets"
    )
    service = models.CharField(max_length=120, blank=True)
    currency = models.CharField(max_length=3, validators=[currency_validator])
    amount = models.DecimalField(
        max_digits=14, decimal_places=2, validators=[MinValueValidator(0)], help_text="a month"
    )
    state = models.CharField(
        max_length=8, choices=BudgetState.choices, default=BudgetState.WITHIN, editable=False
    )

    AUDIT_EXCLUDE = ("updated_at", "created_at", "state")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Raises ValidationError for a budget of an account and a tenant at once: nobody could be shown it whole."""
        if self.account_id and self.tenant_id:
            raise ValidationError({"tenant": "A budget is of an account or of a tenant."})

    def event_context(self) -> dict[str, int | None]:
        return {"account_id": self.account_id, "tenant_id": self.tenant_id}


class Anomaly(models.Model):
    """A day on which a tenant's cost for a service in an account was out of the ordinary.

    `expected` is the median of the same weekday's recent weeks, `score` how many robust deviations lie between.
    """

    AUDIT_EXEMPT = "computed from facts; written anew at each look"

    id = models.BigAutoField(primary_key=True)
    day = models.DateField()
    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.CASCADE, related_name="+")
    account = models.ForeignKey(Account, null=True, on_delete=models.CASCADE, related_name="+")
    service = models.CharField(max_length=120)
    currency = models.CharField(max_length=3)
    amount = models.DecimalField(**DIGITS)
    expected = models.DecimalField(**DIGITS)
    score = models.FloatField()
    why = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-day", "-score", "pk"]
        indexes = [models.Index(fields=["-day", "-score"], name="anomaly_newest")]

    def __str__(self) -> str:
        return f"{self.service} of tenant {self.tenant_id} on {self.day}"
