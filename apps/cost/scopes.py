"""Whose money is whose: a cost lies with its tenant and with its account; what spans several is for who sees all."""

from django.db.models import Q

from apps.access import scoping
from apps.access.scoping import Scopes
from apps.fleet.choices import InstanceKind
from apps.fleet.models import Placement

from .models import (
    Anomaly,
    Budget,
    Commitment,
    CostSeries,
    DailyCost,
    DayCost,
    Discount,
    ExpectedRevenue,
    InstanceCost,
    InstanceDay,
    MonthlyCost,
    MonthlyUsage,
    Price,
    Revenue,
    SubAccount,
    TenantCost,
    Usage,
)  # fmt: skip


def costs_within(scopes: Scopes) -> Q:
    """By account and by tenant. A cell is no part of a bill, so a cell's scope shows no cost."""
    return scoping.any_of(account_id=scopes.accounts, tenant_id=scopes.tenants)


def instances_within(scopes: Scopes) -> Q:
    """By account, by cell, and by tenant where the instance serves nobody else: a shared one's cost is others' too."""
    alone = Placement.objects.filter(tenant_id__in=scopes.tenants, instance__kind=InstanceKind.DEDICATED)
    return (
        Q(instance__cell__region__account_id__in=scopes.accounts)
        | Q(instance__cell_id__in=scopes.cells)
        | Q(instance_id__in=alone.order_by().values("instance_id"))
    )


def register() -> None:
    """Tell `access`; called from registers.py."""
    scoping.register(CostSeries, costs_within)
    scoping.register(DailyCost, costs_within)
    scoping.register(MonthlyCost, costs_within)
    scoping.register(DayCost, lambda scopes: Q(account_id__in=scopes.accounts))
    scoping.register(InstanceDay, instances_within)
    scoping.register(InstanceCost, instances_within)
    scoping.register(SubAccount, costs_within)
    scoping.register(Anomaly, costs_within)
    scoping.register(Budget, costs_within)
    # Prices stand beside plans: who may see anything may see them.
    scoping.register(Price, lambda scopes: Q())
    for of_tenant in (
        Usage, MonthlyUsage, TenantCost, Discount, Commitment, Revenue, ExpectedRevenue,
    ):  # fmt: skip
        scoping.register(of_tenant, lambda scopes: Q(tenant_id__in=scopes.tenants))
