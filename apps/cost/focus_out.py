"""The allocated result of a month as FOCUS 1.0 lines: one for each tenant, day, service, sub-account and rule.

A line tells its tenant as the tag `tenant` and as `x_TenantKey`; without one it is overhead or unallocated. Categories are
not kept apart by the allocation: every line is of ChargeCategory Usage. Read in again, the file gives the same sums.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
from django.core.exceptions import EmptyResultSet
from django.db import connection

from .duck import bills_dir, connected, literal
from .models import DailyCost
from .queries.figures import costs, in_month

FORMS = ("csv", "parquet")
PLAIN = (
    "billed", "effective", "listed", "currency", "day", "service", "sub_account__external_id", "sub_account__name",
    "run__statement__provider", "run__statement__billing_account", "run__statement__billing_account_name",
    "run__statement__period_start", "run__statement__period_end", "tenant__key", "rule__kind", "run__ruleset__version",
)  # fmt: skip
MONEY = "DECIMAL(38,18)"
SELECT = f"""
SELECT CAST(c0 AS {MONEY}) AS BilledCost, CAST(c1 AS {MONEY}) AS EffectiveCost, CAST(c2 AS {MONEY}) AS ListCost, c3 AS BillingCurrency,
CAST(c4 AS TIMESTAMP) AS ChargePeriodStart, CAST(c4 AS TIMESTAMP) + INTERVAL 1 DAY AS ChargePeriodEnd, 'Usage' AS ChargeCategory,
c5 AS ServiceName, c6 AS SubAccountId, c7 AS SubAccountName, c8 AS ProviderName, c8 AS PublisherName, c8 AS InvoiceIssuerName,
c9 AS BillingAccountId, c10 AS BillingAccountName, CAST(c11 AS TIMESTAMP) AS BillingPeriodStart,
CAST(c12 AS TIMESTAMP) AS BillingPeriodEnd, CASE WHEN c13 IS NOT NULL THEN '{{"tenant": "' || c13 || '"}}' END AS Tags,
c13 AS x_TenantKey, coalesce(c14, 'unallocated') AS x_AllocationRule, CAST(c15 AS INTEGER) AS x_AllocationVersion
"""


@contextmanager
def allocated(user: Any, month: date, form: str) -> Iterator[Path]:
    """The file, of what the reader may see; gone when the context ends."""
    with tempfile.TemporaryDirectory(prefix="export-", dir=bills_dir()) as folder:
        raw, made = Path(folder) / "raw.csv", Path(folder) / f"made.{form}"
        _read(user, month, raw)
        columns = ", ".join(f"'c{n}': 'VARCHAR'" for n in range(len(PLAIN)))
        options = "FORMAT csv, HEADER true" if form == "csv" else "FORMAT parquet, COMPRESSION zstd"
        with connected() as duck:
            source = f"read_csv({literal(raw)}, header = false, auto_detect = false, columns = {{{columns}}})"
            duck.execute(f"COPY ({SELECT} FROM {source}) TO {literal(made)} ({options})")
        yield made


def _read(user: Any, month: date, target: Path) -> None:
    """The reader's facts of a month, copied out by PostgreSQL."""
    rows = in_month(costs(user, "tenant", "day"), month)
    assert rows.model is DailyCost
    try:
        query, values = rows.values_list(*PLAIN).query.sql_with_params()
    except EmptyResultSet:  # nothing lies in the reader's scopes
        target.touch()
        return
    with connection.cursor() as cursor, target.open("wb") as out:
        driver: Any = cursor.cursor
        statement = psycopg.ClientCursor(driver.connection).mogrify(query, values)
        with driver.copy(f"COPY ({statement}) TO STDOUT (FORMAT csv)") as copied:
            for block in copied:
                out.write(block)
