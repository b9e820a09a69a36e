"""Runs of the allocation and what they gave to whom."""

from datetime import date
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from apps.accounts.models import Account
from apps.core.models import BaseModel
from apps.tenants.models import Tenant

from .bills import DIGITS, Statement, SubAccount
from .rules import Rule, RuleSet

#: Thousands of facts a bill would each be checked at commit. They are written by one service, from rows it has just
#: read; Django's PROTECT still keeps those rows.
UNCHECKED: dict[str, Any] = {"related_name": "%(class)ss", "db_index": False, "db_constraint": False}
#: Days of a series are numbers from this one, which PostgreSQL reads in a quarter of the time that dates take.
FIRST_DAY = date(1970, 1, 1)


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


class Given(models.Model):
    """To whom, for what and by which rule: what all facts have in common."""

    AUDIT_EXEMPT = "computed from bills and rules, which are recorded; written by the allocation alone"

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, **UNCHECKED)
    account = models.ForeignKey(Account, null=True, on_delete=models.PROTECT, **UNCHECKED)
    sub_account = models.ForeignKey(SubAccount, on_delete=models.PROTECT, **UNCHECKED)
    service = models.CharField(max_length=120)
    rule = models.ForeignKey(Rule, null=True, on_delete=models.PROTECT, **UNCHECKED)
    currency = models.CharField(max_length=3)

    class Meta:
        abstract = True


class Cost(Given):
    """A fact with its sums."""

    billed = models.DecimalField(**DIGITS)
    effective = models.DecimalField(**DIGITS)
    listed = models.DecimalField(**DIGITS)

    class Meta:
        abstract = True


class CostSeries(Given):
    """What one tenant cost for one service in one sub-account and by which rule, day by day, in one row.

    The arrays are of one length; days, counted from `FIRST_DAY`, stand in no order, each once. Effective and list cost are nothing where they are
    the billed cost on all days. A bill of a month is thirty times fewer rows so
    than with a row a day, which is what writing them takes. Kept of current runs and the one before. Read as `DailyCost`.
    """

    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.PROTECT, **UNCHECKED)
    days = ArrayField(models.IntegerField())
    billed = ArrayField(models.DecimalField(**DIGITS))
    effective = ArrayField(models.DecimalField(**DIGITS), null=True)
    listed = ArrayField(models.DecimalField(**DIGITS), null=True)
    lines = ArrayField(models.BigIntegerField())

    class Meta:
        # One index, in the order in which they are written.
        indexes = [models.Index(fields=["run", "tenant"], name="costseries_run_tenant")]

    def __str__(self) -> str:
        return f"days of tenant {self.tenant_id} in run {self.run_id}"


#: A view has nothing to keep; the series behind it keep what they name.
SEEN: dict[str, Any] = {**UNCHECKED, "on_delete": models.DO_NOTHING}


class DailyCost(models.Model):
    """What one tenant cost on one day for one service in one sub-account, and by which rule.

    No tenant but a rule: platform overhead. Neither: unallocated. Rows of current runs are what counts. A view over
    `CostSeries`, a row a day: name a run or a tenant, for a day alone finds nothing quickly.
    """

    AUDIT_EXEMPT = "a view over the series of days, which the allocation alone writes"

    id = models.BigIntegerField(primary_key=True)
    run = models.ForeignKey(Run, **SEEN)
    account = models.ForeignKey(Account, null=True, **SEEN)
    sub_account = models.ForeignKey(SubAccount, **SEEN)
    service = models.CharField(max_length=120)
    rule = models.ForeignKey(Rule, null=True, **SEEN)
    currency = models.CharField(max_length=3)
    billed = models.DecimalField(**DIGITS)
    effective = models.DecimalField(**DIGITS)
    listed = models.DecimalField(**DIGITS)
    day = models.DateField()
    tenant = models.ForeignKey(Tenant, null=True, **SEEN)
    lines = models.BigIntegerField(help_text="bill lines behind it; of a shared pool, all of the pool's")

    class Meta:
        managed = False
        db_table = "cost_dailycost"

    def __str__(self) -> str:
        return f"cost of tenant {self.tenant_id} on {self.day}"


class MonthlyCost(Cost):
    """Daily costs of a run added up over its days: what pages over months read."""

    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.PROTECT, **UNCHECKED)
    lines = models.PositiveBigIntegerField()

    class Meta:
        indexes = [
            models.Index(fields=["run", "tenant"], name="monthlycost_run_tenant"),
            models.Index(
                fields=["tenant", "run"], name="monthlycost_tenant", condition=Q(tenant__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"cost of tenant {self.tenant_id} in run {self.run_id}"


class TenantCost(models.Model):
    """Monthly costs of a run added up to its tenants: what pages of cost against revenue read."""

    AUDIT_EXEMPT = "added up from monthly costs, written with them by the allocation alone"

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, **UNCHECKED)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, **UNCHECKED)
    currency = models.CharField(max_length=3)
    billed = models.DecimalField(**DIGITS)
    effective = models.DecimalField(**DIGITS)
    listed = models.DecimalField(**DIGITS)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "tenant", "currency"], name="tenantcost_once_a_run")
        ]

    def __str__(self) -> str:
        return f"cost of tenant {self.tenant_id} in run {self.run_id}"


class DayCost(Cost):
    """Daily costs of a run added up over tenants: what pages that name no tenant read."""

    day = models.DateField()
    to_tenants = models.BooleanField(help_text="given to tenants; else overhead or unallocated")
    lines = models.PositiveBigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["run", "day"], name="daycost_run_day")]

    def __str__(self) -> str:
        return f"cost of {self.service} on {self.day}"
