"""How cost and revenue went over months: of all tenants, and of those who came in the same month."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from django.db.models import Count, Max, Min, QuerySet, Sum
from django.db.models.functions import Coalesce

from apps.access.choices import Permission
from apps.access.scoping import visible
from apps.tenants.models import Subscription

from ..models import MonthlyUsage, TenantCost
from ..pricing import ZERO, next_month
from . import earned
from .converting import Runs, of_tenants, runs_of
from .earned import added_up
from .figures import sees_all
from .margins import Invoiced
from .revenue import Rates, rates_by_month
from .units import Meter

#: What a cohort's cell can show.
SHOWS = {"margin": "Margin", "share": "Margin, of revenue", "revenue": "Revenue", "cost": "Cost"}


@dataclass(slots=True)
class Sums:
    """Cost and revenue of somebody in some time."""

    revenue: Decimal = ZERO
    cost: Decimal = ZERO

    @property
    def margin(self) -> Decimal:
        return self.revenue - self.cost

    @property
    def share(self) -> Decimal | None:
        return self.margin / self.revenue if self.revenue else None


@dataclass(slots=True)
class Month(Sums):
    """One month of all tenants the reader may see; `used` and `used_cost` are of those with the meter, None without any."""

    month: date = date.min
    tenants: int = 0
    used: Decimal | None = None
    used_cost: Decimal = ZERO
    metered: int = 0

    def per(self, size: int) -> Decimal | None:
        """What so many units cost."""
        return self.used_cost * size / self.used if self.used else None


@dataclass(frozen=True, slots=True)
class Course:
    """Months, oldest first, in one currency; `missing` names currencies without a rate."""

    currency: str
    months: Sequence[Month]
    missing: Sequence[str]


def course(
    user: Any, months: Sequence[date], currency: str, meter: Meter, *, tried: Invoiced | None = None
) -> Course:
    """What each month cost and earned, and what a unit of the meter cost. Queries do not grow with months or tenants."""
    rates = rates_by_month(currency, months)
    missing: set[str] = set()
    revenue = _earning(user, months, currency, rates, tried)
    runs = runs_of(months, rates)
    found = {one: Month(month=one) for one in months}
    for month, (amount, count) in revenue.by_month().items():
        found[month].revenue, found[month].tenants = amount, count
    for run, amount in _costs(user, runs, missing):
        found[runs.periods[run]].cost += amount * runs.rates[run]
    for run, amount in _metered_costs(user, runs.periods, meter):
        found[runs.periods[run]].used_cost += amount * runs.rates[run]
    used = visible(
        user, MonthlyUsage.objects.filter(month__in=months, driver=meter.driver), Permission.SEE_COST
    )
    for month, count, amount in (
        used.order_by().values_list("month").annotate(count=Count("pk"), total=Sum("amount"))
    ):
        found[month].used, found[month].metered = amount, count
    return Course(currency, [found[one] for one in months], sorted(missing | revenue.missing))


def _earning(
    user: Any, months: Sequence[date], currency: str, rates: Rates, tried: Invoiced | None
) -> earned.Expected | earned.Invoiced:
    if tried == "invoiced":
        return earned.Invoiced(user, months, rates)
    return earned.expected(user, months, currency, rates)


def _costs(user: Any, runs: Runs, missing: set[str]) -> list[tuple[int, Decimal]]:
    """What each run gave to the reader's tenants. What it gave to all of them, the run itself knows."""
    if sees_all(user):
        missing.update(runs.lacking.values())
        return list(runs.allocated.items())
    rows = of_tenants(user, TenantCost.objects.filter(run__in=[*runs.rates, *runs.lacking]))
    told = list(rows.values_list("run_id").annotate(total=Sum("billed")))
    missing.update(runs.lacking[run] for run, _ in told if run in runs.lacking)
    return [(run, amount) for run, amount in told if run in runs.rates]


METERED = """
SELECT q.run, sum(q.billed) FROM ({rows}) q (run, tenant, billed)
JOIN unnest(%s::bigint[], %s::date[]) c (run, month) ON c.run = q.run
JOIN cost_monthlyusage u ON u.tenant_id = q.tenant AND u.month = c.month AND u.driver = %s GROUP BY 1
"""


def _metered_costs(user: Any, period: Mapping[int, date], meter: Meter) -> list[tuple[int, Decimal]]:
    """Of the reader's tenants, what those cost in a month who had the meter in it; added up by the database."""
    return added_up(METERED, _facts(user, period), [list(period), list(period.values()), meter.driver])


def _facts(user: Any, runs: Iterable[int]) -> QuerySet[Any]:
    facts = of_tenants(user, TenantCost.objects.filter(run__in=list(runs)))
    return facts.values_list("run_id", "tenant_id", "billed")


# --- Cohorts ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Cohort(Sums):
    """Tenants whose first subscription began in the same month; `months` are their sums, by month."""

    start: date = date.min
    tenants: int = 0
    left: int = 0
    months: dict[date, Sums] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cohorts:
    """All cohorts, newest first, over some months, oldest first."""

    currency: str
    months: Sequence[date]
    rows: Sequence[Cohort]
    missing: Sequence[str]


COSTS = """
SELECT c.cohort, q.run, sum(q.billed) FROM ({rows}) q (run, tenant, billed)
JOIN unnest(%s::bigint[], %s::date[]) c (tenant, cohort) ON c.tenant = q.tenant GROUP BY 1, 2
"""


def cohorts(user: Any, months: Sequence[date], currency: str, *, tried: Invoiced | None = None) -> Cohorts:
    """What tenants who came in the same month cost and earned since. Queries do not grow with months or tenants."""
    rates = rates_by_month(currency, months)
    runs = runs_of(months, rates)
    starts = _starts(user)
    found: dict[date, Cohort] = {}
    for start, last in starts.values():
        if start < next_month(months[-1]):
            one = found.setdefault(start, Cohort(start=start))
            one.tenants += 1
            one.left += last < next_month(months[-1])
    began = {tenant: start for tenant, (start, _) in starts.items()}
    revenue = _earning(user, months, currency, rates, tried)
    for (start, month), amount in revenue.by_cohort(began).items():
        _of(found, start, month, revenue=amount)
    missing = set(revenue.missing)
    lists = [list(began), list(began.values())]
    for cohort, run, amount in added_up(COSTS, _facts(user, [*runs.rates, *runs.lacking]), lists):
        if run in runs.lacking:
            missing.add(runs.lacking[run])
        else:
            _of(found, cohort, runs.periods[run], cost=amount * runs.rates[run])
    rows = sorted(found.values(), key=lambda one: one.start, reverse=True)
    return Cohorts(currency, months, rows, sorted(missing))


def _of(
    found: Mapping[date, Cohort],
    start: date,
    month: date,
    *,
    revenue: Decimal = ZERO,
    cost: Decimal = ZERO,
) -> None:
    if (cohort := found.get(start)) is None:
        return
    for one in (cohort, cohort.months.setdefault(month, Sums())):
        one.revenue += revenue
        one.cost += cost


def _starts(user: Any) -> dict[int, tuple[date, date]]:
    """Of each tenant the month its first subscription began in, and the last day of the last one."""
    rows = visible(user, Subscription, Permission.SEE_COST).order_by().values_list("tenant_id")
    ends = Max(Coalesce("ends_on", date.max))
    told = rows.annotate(first=Min("starts_on"), last=ends)
    return {tenant: (first.replace(day=1), last) for tenant, first, last in told}
