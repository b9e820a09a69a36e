"""Bills and what became of them: statements, runs of the allocation, daily facts; rules, usage, rates."""

from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q

from apps.accounts.models import Account
from apps.core.models import BaseModel
from apps.tenants.models import Tenant, currency_validator

from .choices import BillState, Driver, RuleKind, SetState

#: Money to the last digit: eighteen places after the point, in PostgreSQL as in DuckDB.
DIGITS: dict[str, Any] = {"max_digits": 38, "decimal_places": 18}


#: A million facts a bill would be five million deferred checks at commit. They are written by one service, from rows
#: it has just read; Django's PROTECT still keeps those rows.
UNCHECKED: dict[str, Any] = {"related_name": "costs", "db_index": False, "db_constraint": False}


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


class RuleSet(BaseModel):
    """One version of the allocation rules, in order. Active ones are never edited: a new version is drafted."""

    version = models.PositiveIntegerField(unique=True)
    state = models.CharField(max_length=8, choices=SetState.choices, default=SetState.DRAFT)
    note = models.CharField(max_length=300, blank=True)
    activated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-version"]
        constraints = [
            models.UniqueConstraint(
                fields=["state"], condition=Q(state=SetState.ACTIVE), name="ruleset_one_active"
            ),
            models.UniqueConstraint(
                fields=["state"], condition=Q(state=SetState.DRAFT), name="ruleset_one_draft"
            ),
        ]

    def __str__(self) -> str:
        return f"rules version {self.version}"


class Rule(BaseModel):
    """One rule: which lines (service, sub-account, category; empty is any), and whose they are.

    The first rule in order that finds a tenant for a line takes it. `shares` maps tenant keys to weights.
    """

    ruleset = models.ForeignKey(RuleSet, on_delete=models.CASCADE, related_name="rules")
    position = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=12, choices=RuleKind.choices)
    service = models.CharField(max_length=120, blank=True)
    sub_account = models.CharField(max_length=200, blank=True, help_text="its id on the bill")
    category = models.CharField(
        max_length=20, blank=True, help_text="Usage, Purchase, Tax, Credit, Adjustment"
    )
    tag = models.CharField(max_length=120, blank=True, help_text="key of the tag")
    tenant = models.ForeignKey(
        Tenant, null=True, blank=True, on_delete=models.PROTECT, related_name="cost_rules"
    )
    driver = models.CharField(max_length=10, choices=Driver.choices, blank=True)
    shares = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["ruleset", "position"]
        constraints = [models.UniqueConstraint(fields=["ruleset", "position"], name="rule_position_once")]

    def __str__(self) -> str:
        return self.in_words()

    def in_words(self) -> str:
        """What it does, in a few words."""
        if self.kind not in RuleKind.values:
            return "a rule without a kind"
        what = {
            RuleKind.TAG: f"tag “{self.tag}” names the tenant",
            RuleKind.FIXED: f"all to {self.tenant.key if self.tenant else '?'}",
            RuleKind.USAGE: f"shared by {self.get_driver_display().lower()}" if self.driver else "",
        }.get(RuleKind(self.kind), str(RuleKind(self.kind).label).lower())
        where = [value for value in (self.service, self.sub_account, self.category) if value]
        return f"{what} ({', '.join(where)})" if where else what

    def clean(self) -> None:
        """Raises ValidationError where the kind lacks what it needs."""
        needs = {
            RuleKind.TAG: "tag",
            RuleKind.FIXED: "tenant",
            RuleKind.USAGE: "driver",
            RuleKind.SHARES: "shares",
        }
        field = needs.get(RuleKind(self.kind)) if self.kind else None
        if field and not getattr(self, field):
            raise ValidationError({field: f"“{RuleKind(self.kind).label}” needs it."})
        if any(sign in self.tag for sign in '"\\'):
            raise ValidationError({"tag": "A tag's key here holds no quotation mark and no backslash."})
        if self.kind == RuleKind.SHARES:
            _check_shares(self.shares)


def _check_shares(shares: Any) -> None:
    if not isinstance(shares, dict) or not all(
        isinstance(weight, int) and not isinstance(weight, bool) and 0 < weight <= 10**9
        for weight in shares.values()
    ):
        raise ValidationError({"shares": "Give whole numbers from 1 to 1,000,000,000 by tenant key."})


class Run(BaseModel):
    """One statement allocated by one version of the rules. Former results stay, to compare."""

    statement = models.ForeignKey(Statement, on_delete=models.CASCADE, related_name="runs")
    ruleset = models.ForeignKey(RuleSet, on_delete=models.PROTECT, related_name="runs")
    is_current = models.BooleanField(default=True)
    facts = models.PositiveIntegerField(default=0)
    allocated = models.DecimalField(**DIGITS, default=0)
    overhead = models.DecimalField(**DIGITS, default=0)
    unallocated = models.DecimalField(**DIGITS, default=0)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["statement"], condition=Q(is_current=True), name="run_one_current"
            )
        ]

    def __str__(self) -> str:
        return f"run {self.pk} of statement {self.statement_id}"


class DailyCost(models.Model):
    """What one tenant cost on one day for one service in one sub-account, and by which rule.

    No tenant but a rule: platform overhead. Neither: unallocated. Rows of current runs are what counts.
    """

    AUDIT_EXEMPT = "computed from bills and rules, which are recorded; written by the allocation alone"

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, **UNCHECKED)
    day = models.DateField()
    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.PROTECT, **UNCHECKED)
    account = models.ForeignKey(Account, null=True, on_delete=models.PROTECT, **UNCHECKED)
    sub_account = models.ForeignKey(SubAccount, on_delete=models.PROTECT, **UNCHECKED)
    service = models.CharField(max_length=120)
    rule = models.ForeignKey(Rule, null=True, on_delete=models.PROTECT, **UNCHECKED)
    currency = models.CharField(max_length=3)
    billed = models.DecimalField(**DIGITS)
    effective = models.DecimalField(**DIGITS)
    listed = models.DecimalField(**DIGITS)
    lines = models.PositiveIntegerField(help_text="bill lines behind it; of a shared pool, all of the pool's")

    class Meta:
        indexes = [
            models.Index(fields=["run", "day"], name="dailycost_run_day"),
            models.Index(
                fields=["tenant", "day"], name="dailycost_tenant_day", condition=Q(tenant__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"cost of tenant {self.tenant_id} on {self.day}"


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
