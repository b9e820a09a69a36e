"""Cost and revenue of tenants cut up by a property of facts (account, component), added up by the database.

Each tenant's parts are exactly the tenant: what rounding leaves goes to its largest part. Revenue follows cost; of a tenant
that costs nothing it goes to its parts evenly. Usage is not cut: what a component costs for a request is asked of all requests.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from .converting import Runs, of_tenants
from .earned import added_up

CUT = """
WITH cut AS (
    SELECT q.tenant, coalesce(q.part, '') AS part, sum(q.billed * c.rate) AS cost FROM ({rows}) q (tenant, part, run, billed)
    JOIN unnest(%s::bigint[], %s::numeric[]) c (run, rate) ON c.run = q.run GROUP BY 1, 2
), told AS (
    SELECT e.tenant, e.revenue, coalesce(cut.part, '') AS part, coalesce(cut.cost, 0) AS cost
    FROM unnest(%s::bigint[], %s::numeric[]) e (tenant, revenue) LEFT JOIN cut ON cut.tenant = e.tenant
), weighed AS (
    SELECT tenant, part, revenue, round(cost, 12) AS cost, greatest(cost, 0) AS weight,
           sum(greatest(cost, 0)) OVER of_tenant AS weights, count(*) OVER of_tenant AS parts,
           row_number() OVER (PARTITION BY tenant ORDER BY cost DESC, part) AS place,
           round(sum(cost) OVER of_tenant, 12) - sum(round(cost, 12)) OVER of_tenant AS lost
    FROM told WINDOW of_tenant AS (PARTITION BY tenant)
), shared AS (
    SELECT tenant, part, place, revenue, cost + CASE WHEN place = 1 THEN lost ELSE 0 END AS cost,
           round(CASE WHEN weights > 0 THEN revenue * weight / weights ELSE revenue / parts END, 12) AS earned
    FROM weighed
), parted AS MATERIALIZED (
    SELECT tenant, part, cost,
           earned + CASE WHEN place = 1 THEN revenue - sum(earned) OVER (PARTITION BY tenant) ELSE 0 END AS earned
    FROM shared
)
SELECT part, '', count(*), sum(cost), sum(earned) FROM parted GROUP BY 1
UNION ALL
SELECT p.part, u.driver, count(*), sum(p.cost), sum(u.amount) FROM parted p
JOIN unnest(%s::bigint[], %s::text[], %s::numeric[]) u (tenant, driver, amount) ON u.tenant = p.tenant GROUP BY 1, 2
"""


def cut_up(
    user: Any,
    rows: Any,
    runs: Runs,
    revenue: Mapping[int, Decimal],
    used: Mapping[int, Mapping[str, Decimal]],
) -> Iterable[tuple[str, str, int, Decimal, Decimal]]:
    """By part: tenants, cost and revenue (`driver` is empty); and by driver the tenants metered, their cost, what they used.

    `rows` are facts with their part annotated as `part`; `revenue` names the tenants. One query.
    """
    facts = of_tenants(user, rows).filter(run__in=list(runs.rates))
    meters = [(tenant, driver, amount) for tenant, by in used.items() for driver, amount in by.items()]
    columns: Sequence[list[Any]] = [list(one) for one in zip(*meters, strict=True)] or [[], [], []]
    return added_up(
        CUT,
        facts.values_list("tenant_id", "part", "run_id", "billed"),
        [list(runs.rates), list(runs.rates.values()), list(revenue), list(revenue.values()), *columns],
    )
