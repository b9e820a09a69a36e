"""How cost and revenue went over months: of all tenants, and of those who came in the same month."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import Count, Max, Min, Sum
from django.db.models.functions import Coalesce

from apps.access.choices import Permission
from apps.access.scoping import visible
from apps.tenants.models import Subscription

from ..models import MonthlyUsage, Run, TenantCost
from ..pricing import ZERO, next_month
from .figures import sees_all
from .margins import Invoiced
from .revenue import book, imported
from .units import Meter, of_tenants

Earned = Mapping[tuple[int, date], Decimal]
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
    charged = book(user, months, currency)
    earned = _earned(user, months, charged, tried)
    told = _runs(months, charged)
    by_run, period = told.rates, told.periods
    found = {one: Month(month=one) for one in months}
    for (_, month), amount in earned.items():
        found[month].revenue += amount
        found[month].tenants += 1
    for run, amount in _costs(user, told):
        found[period[run]].cost += amount * by_run[run]
    for run, amount in _metered_costs(user, period, meter):
        found[period[run]].used_cost += amount * by_run[run]
    used = visible(
        user, MonthlyUsage.objects.filter(month__in=months, driver=meter.driver), Permission.SEE_COST
    )
    for month, count, amount in (
        used.order_by().values_list("month").annotate(count=Count("pk"), total=Sum("amount"))
    ):
        found[month].used, found[month].metered = amount, count
    return Course(currency, [found[one] for one in months], sorted(charged.missing))


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs that count: the rate each is converted by, its month, what it gave to all tenants together."""

    rates: dict[int, Decimal]
    periods: dict[int, date]
    allocated: dict[int, Decimal]


def _runs(months: Sequence[date], charged: Any) -> Runs:
    """Of these months; a currency without a rate is told to `charged`. One query."""
    made = Runs({}, {}, {})
    rows = Run.objects.filter(
        is_current=True, statement__period_start__gte=min(months), statement__period_start__lt=next_month(max(months))
    ).order_by()  # fmt: skip
    columns = ("pk", "statement__currency", "statement__period_start", "allocated")
    for pk, currency, period, allocated in rows.values_list(*columns):
        month = period.replace(day=1)
        if (rate := charged.rates.get(month, {}).get(currency)) is None:
            charged.missing.add(currency)
        else:
            made.rates[pk], made.periods[pk], made.allocated[pk] = rate, month, allocated
    return made


def _earned(user: Any, months: Sequence[date], charged: Any, tried: Invoiced | None) -> Earned:
    if tried == "invoiced":
        return imported(user, months, charged.rates, charged.missing)
    made: Earned = charged.earned()
    return made


def _costs(user: Any, told: Runs) -> list[tuple[int, Decimal]]:
    """What each run gave to the reader's tenants. What it gave to all of them, the run itself knows."""
    if sees_all(user):
        return list(told.allocated.items())
    rows = of_tenants(user, TenantCost.objects.filter(run__in=list(told.rates)))
    return list(rows.values_list("run_id").annotate(total=Sum("billed")))


METERED = """
SELECT q.run, sum(q.billed) FROM ({rows}) q (run, tenant, billed)
JOIN unnest(%s::bigint[], %s::date[]) c (run, month) ON c.run = q.run
JOIN cost_monthlyusage u ON u.tenant_id = q.tenant AND u.month = c.month AND u.driver = %s GROUP BY 1
"""


def _metered_costs(user: Any, period: Mapping[int, date], meter: Meter) -> list[tuple[int, Decimal]]:
    """Of the reader's tenants, what those cost in a month who had the meter in it; added up by the database."""
    return _added_up(user, METERED, period, [list(period), list(period.values()), meter.driver])


def _added_up(user: Any, sql: str, ids: Iterable[int], more: Sequence[Any]) -> list[Any]:
    """Runs `sql` over the facts of these runs that the reader's scopes leave, as `rows`."""
    facts = of_tenants(user, TenantCost.objects.filter(run__in=list(ids)))
    try:
        query, values = facts.values_list("run_id", "tenant_id", "billed").query.sql_with_params()
    except EmptyResultSet:
        return []
    with connection.cursor() as cursor:
        cursor.execute(sql.format(rows=query), [*values, *more])
        return list(cursor.fetchall())


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
    charged = book(user, months, currency)
    told = _runs(months, charged)
    by_run, period = told.rates, told.periods
    starts = _starts(user)
    found: dict[date, Cohort] = {}
    for start, last in starts.values():
        if start < next_month(months[-1]):
            one = found.setdefault(start, Cohort(start=start))
            one.tenants += 1
            one.left += last < next_month(months[-1])
    for (tenant, month), amount in _earned(user, months, charged, tried).items():
        _of(found, starts[tenant][0] if tenant in starts else None, month, revenue=amount)
    for start, run, amount in _cohort_costs(user, list(by_run), starts):
        _of(found, start, period[run], cost=amount * by_run[run])
    rows = sorted(found.values(), key=lambda one: one.start, reverse=True)
    return Cohorts(currency, months, rows, sorted(charged.missing))


def _of(
    found: Mapping[date, Cohort],
    start: date | None,
    month: date,
    *,
    revenue: Decimal = ZERO,
    cost: Decimal = ZERO,
) -> None:
    if start is None or (cohort := found.get(start)) is None:
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


def _cohort_costs(
    user: Any, ids: Sequence[int], starts: Mapping[int, tuple[date, date]]
) -> list[tuple[date, int, Decimal]]:
    return _added_up(user, COSTS, ids, [list(starts), [start for start, _ in starts.values()]])
