"""Sums of billed cost in one currency: converted run by run, by the rate at the end of the run's month, in the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet

from apps.access.choices import Permission
from apps.access.scoping import visible
from apps.tenants.models import Tenant

from ..models import Run, TenantCost
from ..pricing import next_month
from .earned import added_up, rate_lists
from .figures import sees_all
from .revenue import Rates

#: What converted sums are rounded to, once, behind all adding.
TINY = Decimal("1E-12")


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs that count of some months: the rate each is converted by, its month, what it gave to all tenants together."""

    rates: Mapping[int, Decimal]
    periods: Mapping[int, date]
    allocated: Mapping[int, Decimal]
    #: Runs that cannot be converted, and their currencies.
    lacking: Mapping[int, str]


def runs_of(months: Sequence[date], rates: Rates) -> Runs:
    """The runs of these months' bills. One query."""
    made: tuple[dict[int, Decimal], dict[int, date], dict[int, Decimal], dict[int, str]] = ({}, {}, {}, {})
    rows = Run.objects.filter(
        is_current=True, statement__period_start__gte=min(months), statement__period_start__lt=next_month(max(months))
    ).order_by()  # fmt: skip
    columns = ("pk", "statement__currency", "statement__period_start", "allocated")
    for pk, currency, period, allocated in rows.values_list(*columns):
        month = period.replace(day=1)
        if (rate := rates.get(month, {}).get(currency)) is None:
            made[3][pk] = currency
        else:
            made[0][pk], made[1][pk], made[2][pk] = rate, month, allocated
    return Runs(*made)


def of_tenants(user: Any, rows: QuerySet[Any]) -> QuerySet[Any]:
    """The facts given to tenants whose own cost the reader may see: a part of one is nobody's margin."""
    if sees_all(user):
        return rows.filter(tenant__isnull=False).order_by()
    mine = visible(user, Tenant, Permission.SEE_COST).order_by().values("pk")
    return rows.filter(tenant__in=mine).order_by()


def lacking_of(user: Any, runs: Runs) -> set[str]:
    """The currencies without a rate in which the reader's tenants cost anything. One query, where there are any at all."""
    if not runs.lacking:
        return set()
    rows = of_tenants(user, TenantCost.objects.filter(run__in=list(runs.lacking)))
    return {runs.lacking[run] for run in rows.values_list("run_id", flat=True).distinct()}


CONVERTED = """
SELECT q.tenant, round(sum(q.billed * c.rate), 12), bool_or(c.rate IS NULL)
FROM ({rows}) q (tenant, run, billed) JOIN (
    SELECT u.id, r.rate FROM cost_run u JOIN cost_statement s ON s.id = u.statement_id
    LEFT JOIN unnest(%s::date[], %s::text[], %s::numeric[]) r (month, currency, rate)
    ON r.month = date_trunc('month', s.period_start::timestamp)::date AND r.currency = s.currency
    WHERE u.is_current AND s.period_start >= %s AND s.period_start < %s
) c ON c.id = q.run GROUP BY 1
"""


def costs_of_tenants(
    user: Any, months: Sequence[date], rates: Rates, missing: set[str]
) -> dict[int, Decimal]:
    """What each tenant whose own cost the reader may see cost in these months, in one currency; what has no rate is left out,
    its currency told. One query, and two where any is."""
    facts = of_tenants(user, TenantCost.objects.all()).values_list("tenant_id", "run_id", "billed")
    span = [min(months), next_month(max(months))]
    told = added_up(CONVERTED, facts, [*rate_lists(months, rates), *span])
    # Rounded there: as parts of a tenant are, and with as many digits before the point as there are.
    found = {tenant: amount for tenant, amount, _ in told if amount is not None}
    if any(lacks for _, _, lacks in told):
        missing |= lacking_of(user, runs_of(months, rates))
    return found
