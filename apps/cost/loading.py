"""Facts from DuckDB into PostgreSQL: series of days by tenant, and added up over days and over tenants for the pages.

The two work at once: while PostgreSQL takes in one file of rows, DuckDB makes the next.
"""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from django.db import connection, models

from . import store
from .choices import SHARING
from .duck import bills_dir, literal
from .models import CostSeries, DayCost, MonthlyCost, Rule, TenantCost
from .models.facts import FIRST_DAY
from .sharing import MEASURES

SUMS = ", ".join(f"sum({one}) AS {one}" for one in MEASURES)
PLACE = "run, account, sub, service, rule, currency"
GIVEN = ("run_id", "account_id", "sub_account_id", "service", "rule_id", "currency")
#: Into how many files the series of days are cut, so that PostgreSQL begins with the first while others are made.
PARTS = 6


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows for a table: what DuckDB runs first, if anything, and the query of the rows."""

    model: type[models.Model]
    columns: tuple[str, ...]
    query: str
    first: str = ""


def load(duck: duckdb.DuckDBPyConnection, rules: Sequence[Rule]) -> None:
    """Copy the table `facts`, in the caller's transaction: in the order of the indexes, which then grow at their ends.

    An error of either side is raised here, and the caller's transaction then keeps nothing.
    """
    apart = _apart(duck)
    with (
        tempfile.TemporaryDirectory(prefix="facts-", dir=bills_dir()) as folder,
        ThreadPoolExecutor(max_workers=1) as maker,
    ):
        # One thread: DuckDB's connection is asked for one thing at a time, in this order.
        made: list[tuple[_Part, Future[Path]]] = [
            (part, maker.submit(_make, duck, part, Path(folder) / f"{place}.csv"))
            for place, part in enumerate(_parts(rules, apart))
        ]
        try:
            for part, file in made:
                _copy(file.result(), part)
        finally:
            for _, file in made:
                file.cancel()


def _apart(duck: duckdb.DuckDBPyConnection) -> list[str]:
    """The measures that were added up beside the billed cost: of the others, which are as billed, nothing is made."""
    kept = {column[0] for column in duck.execute("SELECT * FROM facts_kept LIMIT 0").description or ()}
    return [one for one in MEASURES if one != "billed" and one in kept]


def _parts(rules: Sequence[Rule], apart: Sequence[str]) -> Iterator[_Part]:
    """Sums first: they need no series, so that PostgreSQL has work at once. `apart` are measures that differ from the billed cost."""
    pooled = ", ".join(str(rule.pk) for rule in rules if rule.kind in SHARING) or "-1"
    # A share tells all lines of its pool: of all shares together they are there once.
    lines = f"CASE WHEN coalesce(rule IN ({pooled}), false) THEN max(lines) ELSE sum(lines) END"
    yield _Part(
        DayCost, (*GIVEN, *MEASURES, "lines", "day", "to_tenants"),
        f"SELECT {PLACE}, {SUMS}, {lines}, day, tenant IS NOT NULL FROM facts GROUP BY {PLACE}, day, tenant IS NOT NULL",
    )  # fmt: skip
    sums = ", ".join(MEASURES)
    yield _Part(
        MonthlyCost, (*GIVEN, "tenant_id", *MEASURES, "lines"),
        f"SELECT {PLACE}, tenant, {sums}, lines FROM monthly ORDER BY run, tenant",
        first=f"CREATE OR REPLACE TABLE monthly AS SELECT {PLACE}, tenant, {SUMS}, sum(lines) AS lines FROM facts GROUP BY {PLACE}, tenant",
    )  # fmt: skip
    yield _Part(
        TenantCost, ("run_id", "tenant_id", "currency", *MEASURES),
        f"SELECT run, tenant, currency, {SUMS} FROM monthly WHERE tenant IS NOT NULL GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
    )  # fmt: skip
    yield from _series(apart)


def _series(apart: Sequence[str]) -> Iterator[_Part]:
    """Series of days, cut by tenants, so that PostgreSQL takes in the first while the next are made."""
    # Lists of one group are made from the same rows in the same order, whichever that is: they stay in step. They are
    # made as texts, which takes two thirds of the time of lists that are then written as texts.
    arrays = {
        one: f"'{{' || string_agg(coalesce(CAST({one} AS VARCHAR), 'NULL'), ',') || '}}'"
        for one in ("billed", *apart, "lines")
    }
    same = (
        f"CASE WHEN NOT bool_and({one} = billed) THEN {arrays[one]} END" if one in apart else "NULL"
        for one in ("effective", "listed")
    )
    days = f"'{{' || string_agg(CAST(day - DATE '{FIRST_DAY}' AS VARCHAR), ',') || '}}'"
    shown = ", ".join([days, arrays["billed"], *same, arrays["lines"]])
    cuts = (
        "CREATE OR REPLACE TABLE cuts AS SELECT part, min(tenant) AS least, max(tenant) AS most FROM "
        f"(SELECT tenant, ntile({PARTS}) OVER (ORDER BY tenant) AS part FROM (SELECT DISTINCT tenant FROM monthly WHERE tenant IS NOT NULL)) "
        "GROUP BY part"
    )
    for part in range(1, PARTS + 1):
        ends = (f"(SELECT {end} FROM cuts WHERE part = {part})" for end in ("least", "most"))
        where = f"tenant BETWEEN {' AND '.join(ends)}" + (" OR tenant IS NULL" if part == 1 else "")
        yield _Part(
            CostSeries, (*GIVEN, "tenant_id", "days", *MEASURES, "lines"),
            f"SELECT {PLACE}, tenant, {shown} FROM facts WHERE {where} GROUP BY {PLACE}, tenant ORDER BY run, tenant",
            first=cuts if part == 1 else "",
        )  # fmt: skip


def _make(duck: duckdb.DuckDBPyConnection, part: _Part, path: Path) -> Path:
    """The rows of a part as a CSV that neither side holds in memory.

    The delimiter is one that arrays do not have, so that they need no quotes.
    """
    if part.first:
        duck.execute(part.first)
    duck.execute(f"COPY ({part.query}) TO {literal(path)} (FORMAT csv, HEADER false, DELIMITER '\t')")
    return path


def _copy(path: Path, part: _Part) -> None:
    table = part.model._meta.db_table
    statement = f"COPY {table} ({', '.join(part.columns)}) FROM STDIN (FORMAT csv, DELIMITER E'\t')"
    with connection.cursor() as cursor, path.open("rb") as stream:
        driver: Any = cursor.cursor
        with driver.copy(statement) as copy:
            while block := stream.read(store.BLOCK):
                copy.write(block)
    path.unlink()
