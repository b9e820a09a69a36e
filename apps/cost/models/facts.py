"""Runs of the allocation and what they gave to whom."""

from typing import Any

from django.db import models
from django.db.models import Q

from apps.accounts.models import Account
from apps.core.models import BaseModel
from apps.tenants.models import Tenant

from .bills import DIGITS, Statement, SubAccount
from .rules import Rule, RuleSet

#: A million facts a bill would be five million deferred checks at commit. They are written by one service, from rows
#: it has just read; Django's PROTECT still keeps those rows.
UNCHECKED: dict[str, Any] = {"related_name": "%(class)ss", "db_index": False, "db_constraint": False}


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


class Cost(models.Model):
    """What all facts have in common."""

    AUDIT_EXEMPT = "computed from bills and rules, which are recorded; written by the allocation alone"

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, **UNCHECKED)
    account = models.ForeignKey(Account, null=True, on_delete=models.PROTECT, **UNCHECKED)
    sub_account = models.ForeignKey(SubAccount, on_delete=models.PROTECT, **UNCHECKED)
    service = models.CharField(max_length=120)
    rule = models.ForeignKey(Rule, null=True, on_delete=models.PROTECT, **UNCHECKED)
    currency = models.CharField(max_length=3)
    billed = models.DecimalField(**DIGITS)
    effective = models.DecimalField(**DIGITS)
    listed = models.DecimalField(**DIGITS)

    class Meta:
        abstract = True


class DailyCost(Cost):
    """What one tenant cost on one day for one service in one sub-account, and by which rule.

    No tenant but a rule: platform overhead. Neither: unallocated. Rows of current runs are what counts. Kept of
    current runs and the one before; `MonthlyCost` is kept of all.
    """

    day = models.DateField()
    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.PROTECT, **UNCHECKED)
    lines = models.PositiveIntegerField(help_text="bill lines behind it; of a shared pool, all of the pool's")

    class Meta:
        # One index, in the order in which facts are written: a second would double what an import takes.
        indexes = [models.Index(fields=["run", "tenant", "day"], name="dailycost_run_tenant_day")]

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


class DayCost(Cost):
    """Daily costs of a run added up over tenants: what pages that name no tenant read."""

    day = models.DateField()
    to_tenants = models.BooleanField(help_text="given to tenants; else overhead or unallocated")
    lines = models.PositiveBigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["run", "day"], name="daycost_run_day")]

    def __str__(self) -> str:
        return f"cost of {self.service} on {self.day}"
