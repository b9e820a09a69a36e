"""Whose money is whose: a cost lies with its tenant and with its account; what spans several is for who sees all."""

from django.db.models import Q

from apps.access import scoping
from apps.access.scoping import Scopes

from .models import (
    Anomaly,
    Budget,
    Commitment,
    CostSeries,
    DailyCost,
    DayCost,
    Discount,
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
    return Q(account_id__in=scopes.accounts) | Q(tenant_id__in=scopes.tenants)


def register() -> None:
    """Tell `access`; called from registers.py."""
    scoping.register(CostSeries, costs_within)
    scoping.register(DailyCost, costs_within)
    scoping.register(MonthlyCost, costs_within)
    scoping.register(DayCost, lambda scopes: Q(account_id__in=scopes.accounts))
    scoping.register(SubAccount, costs_within)
    scoping.register(Anomaly, costs_within)
    scoping.register(Budget, costs_within)
    # Prices stand beside plans: who may see anything may see them.
    scoping.register(Price, lambda scopes: Q())
    for of_tenant in (Usage, MonthlyUsage, TenantCost, Discount, Commitment, Revenue):
        scoping.register(of_tenant, lambda scopes: Q(tenant_id__in=scopes.tenants))
