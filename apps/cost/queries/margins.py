"""What each tenant earns and costs in a month, in one currency, and why some cost more than they earn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Q, Sum

from apps.access.choices import Permission
from apps.access.scoping import visible
from apps.tenants.models import Plan, Subscription, Tenant

from ..choices import SHARING
from ..models import MonthlyCost, Rate
from .figures import in_month, month_end

CENT = Decimal("0.01")
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Margin:
    """One tenant's month, all in one currency. `share` of revenue; None where it earns nothing."""

    tenant_id: int
    name: str
    plan: str
    plan_id: int
    revenue: Decimal
    cost: Decimal
    why: str = ""

    @property
    def margin(self) -> Decimal:
        return self.revenue - self.cost

    @property
    def share(self) -> Decimal | None:
        return self.margin / self.revenue if self.revenue else None


@dataclass(frozen=True, slots=True)
class Margins:
    """All tenants of a month whose cost the reader may see; `missing` names currencies without a rate into `currency`."""

    currency: str
    rows: Sequence[Margin]
    missing: Sequence[str]

    @property
    def revenue(self) -> Decimal:
        return sum((row.revenue for row in self.rows), ZERO)

    @property
    def cost(self) -> Decimal:
        return sum((row.cost for row in self.rows), ZERO)

    @property
    def margin(self) -> Decimal:
        return self.revenue - self.cost

    @property
    def share(self) -> Decimal | None:
        return self.margin / self.revenue if self.revenue else None

    @property
    def losing(self) -> list[Margin]:
        return sorted((row for row in self.rows if row.margin < 0), key=lambda row: row.margin)


def rates_into(currency: str, on: date) -> dict[str, Decimal]:
    """What one unit of each other currency was worth: of each, the last rate dated on or before `on`."""
    found = {currency: Decimal(1)}
    for rate in (
        Rate.objects.filter(day__lte=on).filter(Q(into=currency) | Q(currency=currency)).order_by("day")
    ):
        if rate.into == currency:
            found[rate.currency] = rate.rate
        else:
            found[rate.into] = 1 / rate.rate
    return found


def currencies() -> list[str]:
    """What prices are in."""
    return sorted(set(Subscription.objects.order_by().values_list("currency", flat=True).distinct())) or [
        "EUR"
    ]


def margins(user: Any, month: date, currency: str, *, prices: Mapping[int, Decimal] | None = None) -> Margins:
    """The month of each tenant whose own cost the reader may see. Four queries.

    Revenue is the price of each subscription in force, for its days in the month. Cost is billed cost. Both are
    converted by the last rate on or before the month's last day; what has no rate is left out and named.
    `prices` puts other monthly prices, by plan, in the place of the subscriptions' own.
    """
    rates = rates_into(currency, month_end(month) - timedelta(days=1))
    tenants = visible(user, Tenant, Permission.SEE_COST).order_by()
    missing = set[str]()
    cost: dict[int, Decimal] = {}
    rows = in_month(MonthlyCost.objects.filter(run__is_current=True), month).order_by()
    for tenant, its, amount in (
        rows.filter(tenant__in=tenants.values("pk"))
        .values_list("tenant_id", "currency")
        .annotate(total=Sum("billed"))
    ):
        if its in rates:
            cost[tenant] = cost.get(tenant, ZERO) + amount * rates[its]
        else:
            missing.add(its)
    revenue, plans = _revenue(user, month, rates, missing, prices or {})
    found = []
    for pk, name in tenants.values_list("pk", "name"):
        if pk in cost or pk in revenue:
            plan, plan_id = plans.get(pk, ("", 0))
            its_cost = cost.get(pk, ZERO).quantize(Decimal("1E-12"))
            found.append(Margin(pk, name, plan, plan_id, revenue.get(pk, ZERO), its_cost))
    return Margins(currency, sorted(found, key=lambda row: (-row.cost, row.name)), sorted(missing))


def _revenue(
    user: Any, month: date, rates: Mapping[str, Decimal], missing: set[str], prices: Mapping[int, Decimal]
) -> tuple[dict[int, Decimal], dict[int, tuple[str, int]]]:
    end = month_end(month)
    in_force = Subscription.objects.filter(starts_on__lt=end).filter(
        Q(ends_on__isnull=True) | Q(ends_on__gte=month)
    )
    revenue: dict[int, Decimal] = {}
    plans: dict[int, tuple[str, int]] = {}
    rows = (
        visible(user, in_force, Permission.SEE_COST)
        .order_by("starts_on")
        .values_list(
            "tenant_id", "plan__name", "plan_id", "monthly_price", "currency", "starts_on", "ends_on"
        )
    )
    for tenant, plan, plan_id, price, currency, starts, ends in rows:
        plans[tenant] = (plan, plan_id)
        if currency not in rates:
            missing.add(currency)
            continue
        first, last = max(starts, month), min(ends + timedelta(days=1) if ends else end, end)
        part = Decimal((last - first).days) / (end - month).days
        earned = (prices.get(plan_id, price) * part * rates[currency]).quantize(CENT)
        revenue[tenant] = revenue.get(tenant, ZERO) + earned
    return revenue, plans


def with_reasons(month: date, losing: Sequence[Margin]) -> list[Margin]:
    """Tenants that cost more than they earn, each with what its cost is made of. One query."""
    ids = [row.tenant_id for row in losing]
    rows = in_month(MonthlyCost.objects.filter(run__is_current=True, tenant_id__in=ids), month).order_by()
    parts: dict[int, dict[str, Decimal]] = {}
    shared: dict[int, Decimal] = {}
    for tenant, service, kind, amount in rows.values_list("tenant_id", "service", "rule__kind").annotate(
        total=Sum("billed")
    ):
        by_service = parts.setdefault(tenant, {})
        by_service[service] = by_service.get(service, ZERO) + amount
        if kind in SHARING:
            shared[tenant] = shared.get(tenant, ZERO) + amount
    return [
        replace(row, why=_why(row, parts.get(row.tenant_id, {}), shared.get(row.tenant_id, ZERO)))
        for row in losing
    ]


def _why(row: Margin, parts: Mapping[str, Decimal], shared: Decimal) -> str:
    total = sum(parts.values(), ZERO)
    if total <= 0:
        return ""
    service, amount = max(parts.items(), key=lambda pair: pair[1])
    words = [f"{service} is {amount / total:.0%} of its cost"]
    if shared > 0:
        words.append(f"{shared / total:.0%} is shared cost")
    words.append(
        "it pays nothing" if not row.revenue else f"its cost is {row.cost / row.revenue:.1f} times its price"
    )
    return "; ".join(words)


# --- Heavy hitters -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hitter:
    """One tenant in the order of cost; shares are of all tenants that are shown."""

    row: Margin
    cost_share: Decimal
    running: Decimal
    revenue_share: Decimal


def heavy_hitters(found: Margins) -> list[Hitter]:
    """Tenants from the costliest down, with what they are of all cost and of all revenue."""
    cost, revenue, running = found.cost, found.revenue, ZERO
    hitters = []
    for row in found.rows:
        running += row.cost
        hitters.append(
            Hitter(
                row,
                row.cost / cost if cost else ZERO,
                running / cost if cost else ZERO,
                row.revenue / revenue if revenue else ZERO,
            )
        )
    return hitters


def pareto_points(hitters: Sequence[Hitter], *, width: int = 300, height: int = 100) -> str:
    """The running share of cost over the share of tenants, as an SVG polyline's points; at most some hundred."""
    step = max(1, len(hitters) // 100)
    picked = [
        (place + 1, one)
        for place, one in enumerate(hitters)
        if place % step == 0 or place == len(hitters) - 1
    ]
    points = [f"{width * n / len(hitters):.1f},{height * (1 - float(one.running)):.1f}" for n, one in picked]
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


def price_lab(user: Any, month: date, currency: str, prices: Mapping[int, Decimal]) -> Lab:
    """A month with other monthly prices by plan, those who change most first."""
    before, after = margins(user, month, currency), margins(user, month, currency, prices=prices)
    by_id = {row.tenant_id: row for row in after.rows}
    trials = [Trial(row, by_id[row.tenant_id]) for row in before.rows]
    return Lab(before, after, sorted(trials, key=lambda one: (-abs(one.change), one.after.margin)))


def plans_in_use() -> list[Plan]:
    """The plans somebody subscribes to, cheapest first."""
    return list(Plan.objects.filter(subscriptions__isnull=False).distinct())
