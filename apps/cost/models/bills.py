"""Bills as they came, what they add up to, and whose sub-accounts they name."""

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from apps.accounts.models import Account
from apps.core.models import BaseModel
from apps.tenants.models import Tenant, currency_validator

from ..choices import BillState

#: Money to the last digit: eighteen places after the point, in PostgreSQL as in DuckDB.
DIGITS: dict[str, Any] = {"max_digits": 38, "decimal_places": 18}


class Bill(BaseModel):
    """One delivery of a provider: one file or several parts of one, kept as they came.

    `files` holds name, digest, size and rows of each; `report` what the checks found, by rule and line.
    """

    name = models.CharField(max_length=200)
    digest = models.CharField(
        max_length=64, unique=True, help_text="SHA-256 over the digests of its files, in order of digest"
    )
    files = models.JSONField(default=list)
    state = models.CharField(max_length=10, choices=BillState.choices, default=BillState.RECEIVED)
    tries = models.PositiveSmallIntegerField(default=0)
    report = models.JSONField(default=dict, blank=True)
    lines = models.PositiveBigIntegerField(default=0)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    received_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")

    AUDIT_EXCLUDE: ClassVar[tuple[str, ...]] = (
        "updated_at", "created_at", "tries", "started_at", "finished_at", "report",
    )  # fmt: skip

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["state", "created_at"], name="bill_state_created")]

    def __str__(self) -> str:
        return self.name


class SubAccount(BaseModel):
    """A sub-account as bills name it, and whose it is. Seen first by an import, placed by a person."""

    provider = models.CharField(max_length=80)
    external_id = models.CharField(max_length=200)
    name = models.CharField(max_length=200, blank=True)
    account = models.ForeignKey(
        Account, null=True, blank=True, on_delete=models.PROTECT, related_name="sub_accounts"
    )
    tenant = models.ForeignKey(
        Tenant, null=True, blank=True, on_delete=models.PROTECT, related_name="sub_accounts",
        help_text="the tenant whose own it is, for the rule “sub-account belongs to a tenant”",
    )  # fmt: skip

    class Meta:
        ordering = ["provider", "name", "external_id"]
        constraints = [
            models.UniqueConstraint(fields=["provider", "external_id"], name="subaccount_once_per_provider")
        ]

    def __str__(self) -> str:
        return self.name or self.external_id

    def event_context(self) -> dict[str, int | None]:
        return {"account_id": self.account_id, "tenant_id": self.tenant_id}


class Statement(BaseModel):
    """A bill's part for one billing account, period and currency. A corrected one takes the place of the former."""

    bill = models.ForeignKey(Bill, on_delete=models.PROTECT, related_name="statements")
    provider = models.CharField(max_length=80)
    billing_account = models.CharField(max_length=200)
    billing_account_name = models.CharField(max_length=200, blank=True)
    currency = models.CharField(max_length=3, validators=[currency_validator])
    period_start = models.DateField()
    period_end = models.DateField(help_text="the first day after it")
    lines = models.PositiveBigIntegerField()
    billed = models.DecimalField(**DIGITS)
    effective = models.DecimalField(**DIGITS)
    listed = models.DecimalField(**DIGITS, help_text="at list prices")
    is_current = models.BooleanField(default=True)
    replaces = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="replaced_by"
    )

    class Meta:
        ordering = ["-period_start", "provider", "billing_account"]
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "billing_account", "currency", "period_start"],
                condition=Q(is_current=True),
                name="statement_one_current",
            ),
            models.CheckConstraint(
                condition=Q(period_end__gt=F("period_start")), name="statement_ends_after_start"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.billing_account_name or self.billing_account} from {self.period_start}"
