"""Cost and revenue of tenants cut up by a property of facts (account, component), added up by the database.

Each tenant's parts are exactly the tenant: what rounding leaves goes to its largest part. Revenue follows cost; of a tenant
that costs nothing it goes to its parts evenly. Usage is not cut: what a component costs for a request is asked of all requests.

Half a million facts are added up in a few ranges of tenants, which PostgreSQL may do side by side. With no worker free it does
them one after the other, and still faster than all at once: a range's sums stay in the processor's cache. It shares out no
windows, so that there are none: parts are gathered by tenant and taken apart again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import Q

from apps.access.choices import Permission
from apps.access.scoping import visible

from ..models import MonthlyUsage
from ..pricing import ZERO
from .converting import Runs, of_tenants

#: Ranges of tenants: more than PostgreSQL's usual two workers and the one that asks, so that none waits long for the last.
RANGES = 4

USED = "max(m.amount) FILTER (WHERE m.driver = %s) AS used_{n}"
METERED = ", count(used_{n}), sum(cost) FILTER (WHERE used_{n} IS NOT NULL), sum(used_{n})"
#: One range. `earned` is what a part earns but for what rounding leaves, `revenue` what its tenants earn in all.
RANGE = """
(SELECT largest, part, count(*), sum(cost), sum(earned), sum(revenue){metered} FROM (
    SELECT tenant, largest, part, revenue,
           round(cost, 12) + CASE WHEN part = largest THEN lost ELSE 0 END AS cost,
           round(CASE WHEN weights > 0 THEN revenue * greatest(cost, 0) / weights ELSE revenue / parts END, 12) AS earned
    FROM (
        SELECT tenant, coalesce(e.revenue, 0) AS revenue, coalesce(c.names[1], '') AS largest, coalesce(c.lost, 0) AS lost,
               coalesce(c.weights, 0) AS weights, coalesce(c.parts, 1) AS parts,
               unnest(coalesce(c.names, ARRAY[''])) AS part, unnest(coalesce(c.costs, ARRAY[0::numeric])) AS cost
        FROM (
            SELECT tenant, array_agg(part ORDER BY cost DESC, part) AS names, array_agg(cost ORDER BY cost DESC, part) AS costs,
                   sum(greatest(cost, 0)) AS weights, count(*) AS parts, round(sum(cost), 12) - sum(round(cost, 12)) AS lost
            FROM (
                SELECT f.tenant, coalesce(f.part::text, '') AS part, f.cost FROM (
                    SELECT q.tenant, q.part, sum(q.billed * r.rate) AS cost FROM ({rows}) q (tenant, part, run, billed)
                    JOIN unnest(%s::bigint[], %s::numeric[]) r (run, rate) ON r.run = q.run GROUP BY 1, 2
                ) f
            ) of_parts GROUP BY 1
        ) c FULL JOIN unnest(%s::bigint[], %s::numeric[]) e (tenant, revenue) USING (tenant)
    ) told
) parted LEFT JOIN (
    SELECT m.tenant, {used} FROM (
        -- Of those whose meter told something in each of the months.
        SELECT u.tenant, u.driver, sum(u.amount) FROM ({usage}) u (tenant, driver, amount) GROUP BY 1, 2 HAVING count(*) = %s
    ) m (tenant, driver, amount) GROUP BY 1
) used USING (tenant) GROUP BY 1, 2)
"""
#: Facts and usage of nobody.
NOTHING = (
    "SELECT NULL::bigint, NULL::text, NULL::bigint, NULL::numeric WHERE false",
    "SELECT NULL::bigint, NULL::text, NULL::numeric WHERE false",
)


@dataclass(slots=True)
class Piece:
    """What some tenants cost and earn in one part, of all those whose largest part is `largest`.

    `metered` by driver: how many, what they cost, what they used. Where the part is the largest, these are each tenant once.
    """

    largest: str
    part: str
    tenants: int
    cost: Decimal
    revenue: Decimal
    metered: Mapping[str, tuple[int, Decimal, Decimal]]

    @property
    def is_largest(self) -> bool:
        return self.part == self.largest


def cut_up(
    user: Any, rows: Any, runs: Runs, revenue: Mapping[int, Decimal], months: Sequence[date], drivers: Sequence[str]
) -> Iterator[Piece]:  # fmt: skip
    """The pieces of the reader's tenants that cost or earn anything, some for each range. One query.

    `rows` are facts with their part annotated as `part`, in which nothing and the empty text are one and only one of them occurs;
    `revenue` is by tenant, of those that the reader may see.
    """
    numbers = range(len(drivers))
    used, metered = (
        ", ".join(USED.format(n=n) for n in numbers),
        "".join(METERED.format(n=n) for n in numbers),
    )
    facts = (
        of_tenants(user, rows)
        .filter(run__in=list(runs.rates))
        .values_list("tenant_id", "part", "run_id", "billed")
    )
    usage = MonthlyUsage.objects.filter(month__in=months, driver__in=drivers)
    told = visible(user, usage, Permission.SEE_COST).order_by().values_list("tenant_id", "driver", "amount")
    made, values = [], list[Any]()
    for within, tenants in _ranges(sorted(revenue)):
        query, its = _sql(facts.filter(within), NOTHING[0])
        used_by, more = _sql(told.filter(within), NOTHING[1])
        made.append(RANGE.format(rows=query, usage=used_by, used=used, metered=metered))
        values += [
            *its,
            list(runs.rates),
            list(runs.rates.values()),
            tenants,
            [revenue[one] for one in tenants],
        ]
        values += [*drivers, *more, len(months)]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM ({' UNION ALL '.join(made)}) ranges", values)
        found = cursor.fetchall()
    return _pieces(found, drivers)


def _ranges(tenants: Sequence[int]) -> Iterator[tuple[Q, Sequence[int]]]:
    """Conditions that together are all tenants, each with those of `tenants` (in order) that meet it."""
    places = sorted({len(tenants) * n // RANGES for n in range(1, RANGES)} - {0})
    for first, end in zip([0, *places], [*places, len(tenants)], strict=True):
        above = Q(tenant_id__gte=tenants[first]) if first else Q()
        below = Q(tenant_id__lt=tenants[end]) if end < len(tenants) else Q()
        yield above & below, tenants[first:end]


def _sql(rows: Any, nothing: str) -> tuple[str, Sequence[Any]]:
    """Rows as SQL; what is known to be empty Django does not write down."""
    try:
        query, values = rows.query.sql_with_params()
    except EmptyResultSet:
        return nothing, ()
    return query, values


def _pieces(found: Sequence[Any], drivers: Sequence[str]) -> Iterator[Piece]:
    """With what rounding left of revenue where it belongs: of all that tenants of one largest part earn, there."""
    left: dict[str, Decimal] = {}
    for largest, part, _, _, earned, revenue, *_ in found:
        left[largest] = left.get(largest, ZERO) + (revenue if part == largest else ZERO) - earned
    for largest, part, tenants, cost, earned, _, *metered in found:
        if part == largest:
            earned += left.pop(largest, ZERO)
        by_driver = zip(drivers, metered[::3], metered[1::3], metered[2::3], strict=True)
        yield Piece(
            largest, part, tenants, cost, earned,
            {driver: (count, its, amount) for driver, count, its, amount in by_driver if count},
        )  # fmt: skip
