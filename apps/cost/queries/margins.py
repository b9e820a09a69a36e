"""What each tenant earns and costs in a month, in one currency, and why some cost more than they earn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal

from django.db.models import Q

from apps.access.choices import Permission
from apps.access.scoping import visible
from apps.tenants.models import Plan, Tenant

from ..models import Price
from ..pricing import ZERO
from . import earned
from .converting import costs_of_tenants
from .revenue import Of, Rates, Tried, book, rates_by_month

#: Instead of prices to try: what invoices say.
Invoiced = Literal["invoiced"]


@dataclass(frozen=True, slots=True)
class Margin:
    """One tenant's month, all in one currency. `share` of revenue; None where it earns nothing."""

    tenant_id: int
    name: str
    plan: str
    plan_id: int
    revenue: Decimal
    cost: Decimal

    @property
    def margin(self) -> Decimal:
        return self.revenue - self.cost

    @property
    def share(self) -> Decimal | None:
        return self.margin / self.revenue if self.revenue else None


@dataclass(frozen=True)
class Margins:
    """All tenants whose cost the reader may see; `missing` names currencies without a rate into `currency`. Sums are made once."""

    currency: str
    rows: Sequence[Margin]
    missing: Sequence[str]
    rates: Rates = field(default_factory=dict)

    @cached_property
    def revenue(self) -> Decimal:
        return sum((row.revenue for row in self.rows), ZERO)

    @cached_property
    def cost(self) -> Decimal:
        return sum((row.cost for row in self.rows), ZERO)

    @cached_property
    def margin(self) -> Decimal:
        return self.revenue - self.cost

    @cached_property
    def share(self) -> Decimal | None:
        return self.margin / self.revenue if self.revenue else None

    @cached_property
    def losing(self) -> list[Margin]:
        return sorted((row for row in self.rows if row.margin < 0), key=lambda row: row.margin)


def margins(
    user: Any,
    months: Sequence[date],
    currency: str,
    *,
    tried: Sequence[Tried | Invoiced | None] = (None,),
    named: Mapping[int, str] | None = None,
) -> list[Margins]:
    """What each tenant whose own cost the reader may see left in these months; for each price list tried, one answer.

    Revenue is what the price book charges, with the prices tried in the place of its own; or what invoices say. Cost is billed
    cost. Both are converted by the last rate on or before each month's last day; what has no rate is left out and named.
    `named` are the plans' names, for who has them already. Queries do not grow with months.
    """
    rates = rates_by_month(currency, months)
    missing: set[str] = set()
    cost = costs_of_tenants(user, months, rates, missing)
    plans, earning = revenues(user, months, currency, rates, tried, missing)
    if named is None:
        named = dict(Plan.objects.values_list("pk", "name"))
    names = list(visible(user, Tenant, Permission.SEE_COST).order_by().values_list("pk", "name"))
    answers = []
    for revenue in earning:
        rows = []
        for pk, name in names:
            if pk in cost or pk in revenue:
                plan = plans.get(pk, 0)
                rows.append(
                    Margin(pk, name, named.get(plan, ""), plan, revenue.get(pk, ZERO), cost.get(pk, ZERO))
                )
        rows.sort(key=lambda row: (-row.cost, row.name))
        answers.append(Margins(currency, rows, sorted(missing), rates))
    return answers


ByTenant = dict[int, Decimal]


def revenues(
    user: Any, months: Sequence[date], currency: str, rates: Rates, tried: Sequence[Tried | Invoiced | None], missing: set[str]
) -> tuple[dict[int, int], list[ByTenant]]:  # fmt: skip
    """Each tenant's plan, and for each price list tried what each tenant brings.

    Where prices are tried that are nowhere kept, what counts is reckoned beside them, from the same reading of the books.
    """
    trials = [one for one in tried if isinstance(one, Tried) and one != Tried()]
    if trials:
        charged = book(user, months, currency, rates)
        expected = _by_tenant(charged.earned())
        plans = {tenant: plan for (tenant, _), plan in sorted(charged.plans.items(), key=lambda one: one[0])}
        missing.update(one for lacks in charged.missing.values() for one in lacks)
    else:
        kept = earned.expected(user, months, currency, rates)
        expected, plans = kept.by_tenant()
        missing |= kept.missing
    revenues = []
    for one in tried:
        if one == "invoiced":
            invoices = earned.Invoiced(user, months, rates)
            revenues.append(invoices.by_tenant())
            missing |= invoices.missing
        else:
            revenues.append(_by_tenant(charged.earned(one)) if one in trials else expected)
    return plans, revenues


def _by_tenant(found: Mapping[Of, Decimal]) -> ByTenant:
    made: ByTenant = {}
    for (tenant, _), amount in found.items():
        made[tenant] = made.get(tenant, ZERO) + amount
    return made


# --- Heavy hitters -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hitter:
    """One tenant in the order of cost; shares are of all tenants that are shown."""

    row: Margin
    cost_share: Decimal
    running: Decimal
    revenue_share: Decimal
    #: What this tenant and all costlier ones bring, of all revenue.
    revenue_running: Decimal


def heavy_hitters(found: Margins) -> list[Hitter]:
    """Tenants from the costliest down, with what they are of all cost and of all revenue."""
    cost, revenue, running, earned = found.cost, found.revenue, ZERO, ZERO
    hitters = []
    for row in found.rows:
        running += row.cost
        earned += row.revenue
        hitters.append(
            Hitter(
                row,
                row.cost / cost if cost else ZERO,
                running / cost if cost else ZERO,
                row.revenue / revenue if revenue else ZERO,
                earned / revenue if revenue else ZERO,
            )
        )
    return hitters


def pareto_points(
    hitters: Sequence[Hitter], *, of: str = "running", width: int = 300, height: int = 100
) -> str:
    """A running share over the share of tenants, as an SVG polyline's points; at most some hundred."""
    step = max(1, len(hitters) // 100)
    picked = [
        (place + 1, one)
        for place, one in enumerate(hitters)
        if place % step == 0 or place == len(hitters) - 1
    ]
    points = [
        f"{width * n / len(hitters):.1f},{height * (1 - float(getattr(one, of))):.1f}" for n, one in picked
    ]
    return " ".join([f"0,{height}", *points])


# --- Price lab -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trial:
    """One tenant's margin as it was and as it would be."""

    before: Margin
    after: Margin

    @property
    def change(self) -> Decimal:
        return self.after.revenue - self.before.revenue


@dataclass(frozen=True, slots=True)
class Lab:
    """What other prices would have made of a month that really was; nobody but the reader sees them."""

    before: Margins
    after: Margins
    trials: Sequence[Trial]


def price_lab(
    user: Any, months: Sequence[date], currency: str, tried: Tried, named: Mapping[int, str] | None = None
) -> Lab:
    """Months with other prices, those who change most first; `named` as for `margins`."""
    before, after = margins(user, months, currency, tried=(None, tried), named=named)
    by_id = {row.tenant_id: row for row in after.rows}
    trials = [Trial(row, by_id[row.tenant_id]) for row in before.rows]
    return Lab(before, after, sorted(trials, key=lambda one: (-abs(one.change), one.after.margin)))


def plans_in_use() -> list[Plan]:
    """The plans somebody subscribes to, cheapest first."""
    return list(Plan.objects.filter(subscriptions__isnull=False).distinct())


def metered_prices(month: date) -> list[Price]:
    """The metered prices in force on a month's first day, cheapest plan first."""
    rows = Price.objects.filter(starts_on__lte=month).filter(Q(ends_on__isnull=True) | Q(ends_on__gte=month))
    found = {(one.plan_id, one.meter): one for one in rows.select_related("plan").order_by("starts_on")}
    return sorted(found.values(), key=lambda one: (one.plan.rank, one.plan.name, one.meter))
