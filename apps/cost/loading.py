"""Facts from DuckDB into PostgreSQL: by day and tenant, and added up over days and over tenants for the pages."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
from django.db import connection, models

from . import store
from .choices import SHARING
from .duck import bills_dir, literal
from .models import DailyCost, DayCost, MonthlyCost, Rule
from .sharing import MEASURES

SUMS = ", ".join(f"sum({one}) AS {one}" for one in MEASURES)
COMMON = ("run_id", "account_id", "sub_account_id", "service", "rule_id", "currency", *MEASURES, "lines")
PLACE = "run, account, sub, service, rule, currency"


def load(duck: duckdb.DuckDBPyConnection, rules: Sequence[Rule]) -> None:
    """Copy the table `facts`, in the caller's transaction. In the order of their index: it then grows at its end only."""
    daily = f"SELECT {PLACE}, {', '.join(MEASURES)}, lines, day, tenant FROM facts ORDER BY run, tenant, day"
    _copy(duck, daily, DailyCost, ("day", "tenant_id"))
    monthly = (
        f"SELECT {PLACE}, {SUMS}, sum(lines), tenant FROM facts GROUP BY {PLACE}, tenant ORDER BY run, tenant"
    )
    _copy(duck, monthly, MonthlyCost, ("tenant_id",))
    pooled = ", ".join(str(rule.pk) for rule in rules if rule.kind in SHARING) or "-1"
    # A share tells all lines of its pool: of all shares together they are there once.
    lines = f"CASE WHEN coalesce(rule IN ({pooled}), false) THEN max(lines) ELSE sum(lines) END"
    by_day = f"SELECT {PLACE}, {SUMS}, {lines}, day, tenant IS NOT NULL FROM facts GROUP BY {PLACE}, day, tenant IS NOT NULL"
    _copy(duck, by_day, DayCost, ("day", "to_tenants"))


def _copy(
    duck: duckdb.DuckDBPyConnection, query: str, model: type[models.Model], more: Sequence[str]
) -> None:
    """The rows of a query into a model's table, as a CSV that neither side holds in memory."""
    with tempfile.TemporaryDirectory(prefix="facts-", dir=bills_dir()) as folder:
        path = Path(folder) / "facts.csv"
        duck.execute(f"COPY ({query}) TO {literal(path)} (FORMAT csv, HEADER false)")
        statement = f"COPY {model._meta.db_table} ({', '.join([*COMMON, *more])}) FROM STDIN (FORMAT csv)"
        with connection.cursor() as cursor, path.open("rb") as stream:
            driver: Any = cursor.cursor
            with driver.copy(statement) as copy:
                while block := stream.read(store.BLOCK):
                    copy.write(block)
