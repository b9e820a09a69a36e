"""What tenants earn, added up by the database: as the price book expects it (kept by month), or as invoices say.

Both answer by tenant, by month and by cohort. What is kept of a month counts only while nothing it was reckoned from has
changed (`keeping`); a month that changed is reckoned anew for the reader, so that a page is right whichever it meets.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import BigIntegerField, Count, F, Func, Max, Q, QuerySet, Sum

from apps.access.choices import Permission
from apps.access.scoping import visible

from .. import keeping
from ..models import ExpectedRevenue, Revenue
from ..pricing import ZERO
from .revenue import Of, Rates, book

#: By cohort (the month of a tenant's start) and month.
ByCohort = dict[tuple[date, date], Decimal]
Starts = Mapping[int, date]

KEPT_BY_COHORT = """
SELECT c.cohort, q.month, sum(q.amount) FROM ({rows}) q (tenant, month, amount)
JOIN unnest(%s::bigint[], %s::date[]) c (tenant, cohort) ON c.tenant = q.tenant GROUP BY 1, 2
"""
#: One month's invoices by tenant and currency, each sum converted to the cent; without a rate the amount is nothing. A month at
#: a time: its tenants' sums stay in the processor's cache, which takes a third of the time of all months' at once.
OF_A_MONTH = """
SELECT q.tenant, q.currency, round(q.total * r.rate, 2) AS amount FROM (
    SELECT i.tenant, i.currency, sum(i.amount) AS total FROM ({rows}) i (tenant, month, currency, amount)
    WHERE i.month = o.month GROUP BY 1, 2
) q LEFT JOIN unnest(%s::date[], %s::text[], %s::numeric[]) r (month, currency, rate)
ON r.month = o.month AND r.currency = q.currency
"""
#: Whether, and not which: to gather names PostgreSQL sets so much memory aside for each group that it writes them to disk.
LACKING = "bool_or(m.amount IS NULL)"
MONTHS = "unnest(%s::date[]) o (month) CROSS JOIN LATERAL"
INVOICED = f"SELECT m.tenant, sum(m.amount), {LACKING} FROM {MONTHS} ({OF_A_MONTH}) m GROUP BY 1"
INVOICED_BY_MONTH = (
    f"SELECT o.month, s.* FROM {MONTHS} (SELECT sum(m.amount), count(DISTINCT m.tenant) FILTER (WHERE m.amount IS NOT NULL), "
    f"{LACKING} FROM ({OF_A_MONTH}) m HAVING count(*) > 0) s"
)
INVOICED_BY_COHORT = (
    f"SELECT c.cohort, o.month, sum(m.amount), {LACKING} FROM {MONTHS} ({OF_A_MONTH}) m "
    "LEFT JOIN unnest(%s::bigint[], %s::date[]) c (tenant, cohort) ON c.tenant = m.tenant GROUP BY 1, 2"
)


def added_up(sql: str, rows: QuerySet[Any], more: Sequence[Any], before: Sequence[Any] = ()) -> list[Any]:
    """Runs `sql` over rows that the reader's scopes leave, which it names `{rows}`; its own parameters stand `before` theirs or
    behind (`more`)."""
    try:
        query, values = rows.query.sql_with_params()
    except EmptyResultSet:
        return []
    with connection.cursor() as cursor:
        cursor.execute(sql.format(rows=query), [*before, *values, *more])
        return list(cursor.fetchall())


_EPOCH = date(2000, 1, 1)
#: More than there will be plans, with which a day and a plan are one number.
_PLANS = 10**12
#: The greatest of days since 2000 and the plan then: the plan of the last month that has one. One pass, no sorting.
_LAST_PLAN = Max(
    Func(F("month"), F("plan"), template="(%(expressions)s)", arg_joiner=f" - DATE '2000-01-01')::bigint * {_PLANS} + (",
         output_field=BigIntegerField()),
    filter=Q(plan__isnull=False),
)  # fmt: skip
_LACKS = Count("pk", filter=~Q(missing=""))


@dataclass(slots=True)
class Expected:
    """Expected revenue of the reader's tenants in some months, in one currency; `live` of the months that were reckoned anew."""

    user: Any
    currency: str
    kept: Sequence[date]
    live: Mapping[Of, Decimal] = field(default_factory=dict)
    live_plans: Mapping[Of, int] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)

    def rows(self) -> QuerySet[Any]:
        """What is kept of these months, as far as the reader may see it."""
        rows = ExpectedRevenue.objects.filter(currency=self.currency, month__in=list(self.kept))
        return visible(self.user, rows, Permission.SEE_COST).order_by()

    def _name(self, lacking: bool) -> None:
        """Name the currencies without a rate, where any is. One query then."""
        if lacking:
            for lacks in self.rows().exclude(missing="").values_list("missing", flat=True).distinct():
                self.missing.update(lacks.split())

    def by_tenant(self) -> tuple[dict[int, Decimal], dict[int, int]]:
        """What each is expected to pay, and the plan of its last subscription in these months. One query, and one more where a
        currency has no rate."""
        found: dict[int, Decimal] = {}
        plans: dict[int, tuple[date, int]] = {}
        lacking = False
        told = self.rows().values_list("tenant_id").annotate(Sum("amount"), last=_LAST_PLAN, lacks=_LACKS)
        for tenant, amount, last, lacks in told if self.kept else ():
            if amount is not None:
                found[tenant] = amount
            if last is not None:
                days, plan = divmod(last, _PLANS)
                plans[tenant] = (_EPOCH + timedelta(days=days), plan)
            lacking |= bool(lacks)
        self._name(lacking)
        for (tenant, _), amount in self.live.items():
            found[tenant] = found.get(tenant, ZERO) + amount
        for (tenant, month), plan in self.live_plans.items():
            plans[tenant] = max(plans.get(tenant, (date.min, 0)), (month, plan))
        return found, {tenant: plan for tenant, (_, plan) in plans.items()}

    def by_month(self) -> dict[date, tuple[Decimal, int]]:
        """What each month comes to, and of how many tenants. Queries as by tenant."""
        found: dict[date, tuple[Decimal, int]] = {}
        lacking = False
        told = self.rows().values_list("month").annotate(Sum("amount"), Count("amount"), lacks=_LACKS)
        for month, amount, count, lacks in told if self.kept else ():
            found[month] = (amount or ZERO, count)
            lacking |= bool(lacks)
        self._name(lacking)
        for (_, month), amount in self.live.items():
            total, count = found.get(month, (ZERO, 0))
            found[month] = (total + amount, count + 1)
        return found

    def by_cohort(self, starts: Starts) -> ByCohort:
        """By the month in which tenants began, of those that did. Two queries."""
        found: ByCohort = {}
        if self.kept:
            rows = self.rows().filter(amount__isnull=False).values_list("tenant_id", "month", "amount")
            for cohort, month, amount in added_up(KEPT_BY_COHORT, rows, _lists(starts)):
                found[cohort, month] = amount
            self._name(True)
        for (tenant, month), amount in self.live.items():
            if cohort := starts.get(tenant):
                found[cohort, month] = found.get((cohort, month), ZERO) + amount
        return found


def expected(user: Any, months: Sequence[date], currency: str, rates: Rates) -> Expected:
    """Expected revenue for the reader: kept months as they are kept, others reckoned anew. One query, and seven where any is.

    A single month that counts no more is kept at once; of more, the clock sees to it (`keeping.keep_all`).
    """
    standing = keeping.standing(currency, months)
    stale = [month for month in months if not standing[month].counts]
    if len(stale) == 1:
        keeping.keep(currency, stale)
        # As it is now, it was reckoned from what this request could read: another change since is another page's.
        stale = []
    kept = [month for month in months if month not in stale]
    if not stale:
        return Expected(user, currency, kept)
    anew = book(user, stale, currency, rates)
    live = anew.earned()
    missing = {one for lacks in anew.missing.values() for one in lacks}
    return Expected(user, currency, kept, live, anew.plans, missing)


def rate_lists(months: Sequence[date], rates: Rates) -> list[list[Any]]:
    """The rates of these months as three lists: month, currency, rate."""
    known = [(month, its, rate) for month in months for its, rate in rates[month].items()]
    return [list(column) for column in zip(*known, strict=True)]


@dataclass(slots=True)
class Invoiced:
    """What invoices say of the reader's tenants in some months, in the currency of the rates."""

    user: Any
    months: Sequence[date]
    rates: Rates
    missing: set[str] = field(default_factory=set)

    def rows(self) -> QuerySet[Any]:
        """Tenant, month, currency and amount of invoices' lines, as far as the reader may see them."""
        rows = Revenue.objects.filter(month__in=list(self.months), tenant__isnull=False)
        told = visible(self.user, rows, Permission.SEE_COST).order_by()
        return told.values_list("tenant_id", "month", "currency", "amount")

    def _told(self, sql: str, *more: Any) -> list[tuple[Any, ...]]:
        """Rows whose last value was whether anything of theirs has no rate: its currency is named. One query, and one more then."""
        lists = rate_lists(self.months, self.rates)
        told = added_up(sql, self.rows(), [*lists, *more], before=[list(self.months)])
        if any(row[-1] for row in told):
            known = self.rows().values_list("month", "currency").distinct()
            self.missing.update(its for month, its in known if its not in self.rates[month])
        return [row[:-1] for row in told]

    def by_tenant(self) -> dict[int, Decimal]:
        """What each was charged."""
        return {tenant: amount for tenant, amount in self._told(INVOICED) if amount is not None}

    def by_month(self) -> dict[date, tuple[Decimal, int]]:
        """What each month came to, and of how many tenants."""
        return {month: (amount or ZERO, count) for month, amount, count in self._told(INVOICED_BY_MONTH)}

    def by_cohort(self, starts: Starts) -> ByCohort:
        """By the month in which tenants began, of those that did."""
        told = self._told(INVOICED_BY_COHORT, *_lists(starts))
        return {
            (cohort, month): amount
            for cohort, month, amount in told
            if cohort is not None and amount is not None
        }


def _lists(starts: Starts) -> tuple[Collection[int], Collection[date]]:
    return list(starts), list(starts.values())
