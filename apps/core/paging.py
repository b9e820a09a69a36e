"""Pages of what may be millions of rows."""

import json
from collections.abc import Mapping
from typing import Any

from django.core.paginator import Paginator
from django.db import connections
from django.utils.functional import cached_property

#: Up to here a count is exact; past it the page does not wait for the rest to be counted.
EXACT_UP_TO = 100_000


class EstimatingPaginator(Paginator):  # type: ignore[type-arg]
    """Counts exactly up to `EXACT_UP_TO`, and takes the planner's estimate past it (`is_estimate`)."""

    is_estimate = False

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        while not hasattr(rows, "query"):
            rows = rows.data  # a table's rows hold its data, which holds the queryset
        seen = int(rows.order_by()[: EXACT_UP_TO + 1].count())
        if seen <= EXACT_UP_TO:
            return seen
        self.is_estimate = True
        return max(seen, estimated_rows(rows))


def estimated_rows(rows: Any) -> int:
    """How many rows PostgreSQL's planner expects of a queryset, from the statistics that ANALYZE keeps."""
    sql, params = rows.order_by().values("pk").query.sql_with_params()
    with connections[rows.db].cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
        answer = cursor.fetchone()[0]
    plan: list[Mapping[str, Any]] = json.loads(answer) if isinstance(answer, str) else answer
    return int(plan[0]["Plan"]["Plan Rows"])
