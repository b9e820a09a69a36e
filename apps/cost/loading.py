"""Facts from DuckDB into PostgreSQL: series of days by tenant, and added up over days and over tenants for the pages."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
from django.db import connection, models

from . import store
from .choices import SHARING
from .duck import bills_dir, literal
from .models import CostSeries, DayCost, MonthlyCost, Rule, TenantCost
from .sharing import MEASURES

SUMS = ", ".join(f"sum({one}) AS {one}" for one in MEASURES)
PLACE = "run, account, sub, service, rule, currency"
GIVEN = ("run_id", "account_id", "sub_account_id", "service", "rule_id", "currency")


def load(duck: duckdb.DuckDBPyConnection, rules: Sequence[Rule]) -> None:
    """Copy the table `facts`, in the caller's transaction: in the order of the indexes, which then grow at their ends."""
    # Lists of one group are made from the same rows in the same order, whichever that is: they stay in step.
    lists = ", ".join(f"list({one}) AS {one}_list" for one in ("day", *MEASURES, "lines"))
    duck.execute(
        f"CREATE OR REPLACE TABLE series AS SELECT {PLACE}, tenant, {SUMS}, sum(lines) AS lines, {lists}, "
        "bool_and(effective = billed) AS effective_same, bool_and(listed = billed) AS listed_same "
        f"FROM facts GROUP BY {PLACE}, tenant"
    )
    arrays = ", ".join(
        [
            _array("day"), _array("billed"), *(f"CASE WHEN NOT {one}_same THEN {_array(one)} END" for one in ("effective", "listed")),
            _array("lines"),
        ]
    )  # fmt: skip
    _copy(
        duck, f"SELECT {PLACE}, tenant, {arrays} FROM series ORDER BY run, tenant", CostSeries,
        (*GIVEN, "tenant_id", "days", *MEASURES, "lines"),
    )  # fmt: skip
    sums = ", ".join(MEASURES)
    _copy(
        duck, f"SELECT {PLACE}, tenant, {sums}, lines FROM series ORDER BY run, tenant", MonthlyCost,
        (*GIVEN, "tenant_id", *MEASURES, "lines"),
    )  # fmt: skip
    _copy(
        duck, f"SELECT run, tenant, currency, {SUMS} FROM series WHERE tenant IS NOT NULL GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        TenantCost, ("run_id", "tenant_id", "currency", *MEASURES),
    )  # fmt: skip
    pooled = ", ".join(str(rule.pk) for rule in rules if rule.kind in SHARING) or "-1"
    # A share tells all lines of its pool: of all shares together they are there once.
    lines = f"CASE WHEN coalesce(rule IN ({pooled}), false) THEN max(lines) ELSE sum(lines) END"
    _copy(
        duck, f"SELECT {PLACE}, {SUMS}, {lines}, day, tenant IS NOT NULL FROM facts GROUP BY {PLACE}, day, tenant IS NOT NULL",
        DayCost, (*GIVEN, *MEASURES, "lines", "day", "to_tenants"),
    )  # fmt: skip


def _array(name: str) -> str:
    """A list as PostgreSQL writes an array."""
    return f"'{{' || CAST({name}_list AS VARCHAR)[2:-2] || '}}'"


def _copy(
    duck: duckdb.DuckDBPyConnection, query: str, model: type[models.Model], columns: Sequence[str]
) -> None:
    """The rows of a query into a model's table, as a CSV that neither side holds in memory.

    The delimiter is one that arrays do not have, so that they need no quotes.
    """
    with tempfile.TemporaryDirectory(prefix="facts-", dir=bills_dir()) as folder:
        path = Path(folder) / "facts.csv"
        duck.execute(f"COPY ({query}) TO {literal(path)} (FORMAT csv, HEADER false, DELIMITER '\t')")
        statement = (
            f"COPY {model._meta.db_table} ({', '.join(columns)}) FROM STDIN (FORMAT csv, DELIMITER E'\t')"
        )
        with connection.cursor() as cursor, path.open("rb") as stream:
            driver: Any = cursor.cursor
            with driver.copy(statement) as copy:
                while block := stream.read(store.BLOCK):
                    copy.write(block)
