"""Cost and revenue of tenants cut up by a property of facts (account, component), added up by the database.

Each tenant's parts are exactly the tenant: what rounding leaves goes to its largest part. Revenue follows cost; of a tenant
that costs nothing it goes to its parts evenly. Usage is not cut: what a component costs for a request is asked of all requests.

Half a million facts are added up in a few ranges of tenants, which PostgreSQL may do side by side (no worker free: one after
the other, and still faster than all at once, as a range's sums stay in the processor's cache). What follows needs all parts of
a tenant together and windows, which PostgreSQL does not share out; it has a row for each part of a tenant and no more.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection

from apps.access.choices import Permission
from apps.access.scoping import visible

from ..models import MonthlyUsage
from .converting import Runs, of_tenants

#: Ranges of tenants: more than PostgreSQL's usual two workers and the one that asks, so that none waits long for the last.
RANGES = 4

RANGE = """
(SELECT q.tenant, q.part, sum(q.billed * c.rate) FROM ({rows}) q (tenant, part, run, billed)
JOIN unnest(%s::bigint[], %s::numeric[]) c (run, rate) ON c.run = q.run GROUP BY 1, 2)
"""
USED = "max(m.amount) FILTER (WHERE m.driver = %s) AS used_{n}"
METERED = ", count(used_{n}), sum(cost) FILTER (WHERE used_{n} IS NOT NULL), sum(used_{n})"
CUT = """
WITH cut AS MATERIALIZED (
    SELECT f.tenant, coalesce(f.part::text, '') AS part, f.cost FROM ({ranges}) f (tenant, part, cost)
), used AS (
    SELECT m.tenant, {used} FROM (
        -- Of those whose meter told something in each of the months.
        SELECT u.tenant, u.driver, sum(u.amount) FROM ({usage}) u (tenant, driver, amount) GROUP BY 1, 2 HAVING count(*) = %s
    ) m (tenant, driver, amount) GROUP BY 1
), told AS (
    SELECT tenant, coalesce(e.revenue, 0) AS revenue, coalesce(cut.part, '') AS part, coalesce(cut.cost, 0) AS cost
    FROM cut FULL JOIN unnest(%s::bigint[], %s::numeric[]) e (tenant, revenue) USING (tenant)
), weighed AS (
    SELECT tenant, part, revenue, round(cost, 12) AS cost, greatest(cost, 0) AS weight,
           sum(greatest(cost, 0)) OVER of_tenant AS weights, count(*) OVER of_tenant AS parts,
           row_number() OVER of_tenant = 1 AS is_largest,
           round(sum(cost) OVER of_tenant, 12) - sum(round(cost, 12)) OVER of_tenant AS lost
    FROM told WINDOW of_tenant AS (
        PARTITION BY tenant ORDER BY cost DESC, part ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
), shared AS (
    SELECT tenant, part, is_largest, revenue, cost + CASE WHEN is_largest THEN lost ELSE 0 END AS cost,
           round(CASE WHEN weights > 0 THEN revenue * weight / weights ELSE revenue / parts END, 12) AS earned
    FROM weighed
), parted AS (
    SELECT tenant, part, is_largest, cost,
           earned + CASE WHEN is_largest THEN revenue - sum(earned) OVER (PARTITION BY tenant) ELSE 0 END AS earned
    FROM shared
)
SELECT part, is_largest, count(*), sum(cost), sum(earned){metered} FROM parted LEFT JOIN used USING (tenant) GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Piece:
    """What tenants cost and earn in one part; `metered` by driver: how many, what they cost, what they used.

    Of each part there are two: `is_largest` where it is its tenants' largest part, so that these are each tenant once.
    """

    part: str
    is_largest: bool
    tenants: int
    cost: Decimal
    revenue: Decimal
    metered: Mapping[str, tuple[int, Decimal, Decimal]]


def cut_up(
    user: Any, rows: Any, runs: Runs, revenue: Mapping[int, Decimal], months: Sequence[date], drivers: Sequence[str]
) -> Iterator[Piece]:  # fmt: skip
    """The pieces of the reader's tenants that cost or earn anything. One query.

    `rows` are facts with their part annotated as `part`; `revenue` is by tenant, of those that the reader may see.
    """
    ranges, values = _ranges(user, rows, runs, sorted(revenue))
    usage, more = _usage(user, months, drivers)
    used = ", ".join(USED.format(n=n) for n in range(len(drivers)))
    sql = CUT.format(
        ranges=ranges, used=used, usage=usage, metered="".join(METERED.format(n=n) for n in range(len(drivers)))
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(sql, [*values, *drivers, *more, len(months), list(revenue), list(revenue.values())])
        told = cursor.fetchall()
    for part, is_largest, tenants, cost, earned, *metered in told:
        by_driver = zip(drivers, metered[::3], metered[1::3], metered[2::3], strict=True)
        yield Piece(
            part, is_largest, tenants, cost, earned,
            {driver: (count, its, amount) for driver, count, its, amount in by_driver if count},
        )  # fmt: skip


def _ranges(user: Any, rows: Any, runs: Runs, tenants: Sequence[int]) -> tuple[str, list[Any]]:
    """Cost by tenant and part as SQL, in ranges that together are all tenants; `tenants` tell where to cut."""
    facts = of_tenants(user, rows).filter(run__in=list(runs.rates))
    edges = sorted({tenants[len(tenants) * n // RANGES] for n in range(1, RANGES)} if tenants else ())
    made, values = [], list[Any]()
    for first, end in zip([None, *edges], [*edges, None], strict=True):
        within = facts if first is None else facts.filter(tenant_id__gte=first)
        within = within if end is None else within.filter(tenant_id__lt=end)
        try:
            query, its = within.values_list("tenant_id", "part", "run_id", "billed").query.sql_with_params()
        except EmptyResultSet:
            continue
        made.append(RANGE.format(rows=query))
        values += [*its, list(runs.rates), list(runs.rates.values())]
    return " UNION ALL ".join(made) or "SELECT NULL::bigint, NULL::text, NULL::numeric WHERE false", values


def _usage(user: Any, months: Sequence[date], drivers: Sequence[str]) -> tuple[str, Sequence[Any]]:
    """Usage by tenant, driver and month as SQL."""
    rows = visible(
        user, MonthlyUsage.objects.filter(month__in=months, driver__in=drivers), Permission.SEE_COST
    )
    try:
        return rows.order_by().values_list("tenant_id", "driver", "amount").query.sql_with_params()
    except EmptyResultSet:
        return "SELECT NULL::bigint, NULL::text, NULL::numeric WHERE false", ()
