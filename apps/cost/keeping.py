"""Keeping expected revenue by month, so that pages need not reckon it anew; and knowing when what is kept still counts.

A month's version is how often its inputs changed, as triggers count it (`InputChange`). Whoever keeps a month reads its version
*before* it reads anything it reckons from, and writes it beside the result. Had an input changed in between, or while it was
read, the month's version would be another by now, and what was kept would not count: no lock and no clock is needed.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db import connection, transaction

from .models import InputChange
from .pricing import months_back
from .queries import figures
from .queries.revenue import Of, book_of_everybody, currencies

#: So many months back from the newest bill are kept ahead of the reader: what pages can ask for, and a year before it.
KEPT = 36
#: So many are reckoned at once.
AT_ONCE = 6
#: Rows of changes that are left as they are; from there on they are added up.
FEW = 500

STANDING = """
SELECT m.month, (SELECT coalesce(sum(c.count), 0)::bigint FROM cost_inputchange c
                 WHERE c.first <= m.month AND (c.last IS NULL OR c.last >= m.month)), k.version
FROM unnest(%s::date[]) m (month) LEFT JOIN cost_expectedmonth k ON k.month = m.month AND k.currency = %s
"""
CLAIM = """
INSERT INTO cost_expectedmonth (currency, month, version, reckoned_at) VALUES (%s, %s, %s, now())
ON CONFLICT (currency, month) DO UPDATE SET version = excluded.version, reckoned_at = excluded.reckoned_at
WHERE cost_expectedmonth.version < excluded.version RETURNING id
"""
ADD_UP = """
WITH gone AS (DELETE FROM cost_inputchange RETURNING kind, first, last, count)
INSERT INTO cost_inputchange (kind, first, last, count) SELECT kind, first, last, sum(count) FROM gone GROUP BY 1, 2, 3
"""
COLUMNS = "currency, month, tenant_id, plan_id, amount, missing"


@dataclass(frozen=True, slots=True)
class Standing:
    """A month's version now, and that of what is kept of it; None where nothing is."""

    now: int
    kept: int | None

    @property
    def counts(self) -> bool:
        return self.kept == self.now


def standing(currency: str, months: Collection[date]) -> dict[date, Standing]:
    """How it stands with these months. One query."""
    with connection.cursor() as cursor:
        cursor.execute(STANDING, [list(months), currency])
        return {month: Standing(now, kept) for month, now, kept in cursor.fetchall()}


def keep(currency: str, months: Sequence[date]) -> None:
    """Reckon these months anew and keep them, each in a transaction. Where another keeps the same month, the newer stays."""
    before = standing(currency, months)  # before anything is read: see the module
    book = book_of_everybody(months, currency)
    earned = book.earned()
    by_month: dict[date, set[Of]] = {month: set() for month in months}
    for key in earned.keys() | book.plans.keys() | book.missing.keys():
        by_month[key[1]].add(key)
    for month, keys in by_month.items():
        rows = (
            (currency, month, key[0], book.plans.get(key), earned.get(key), " ".join(sorted(book.missing.get(key, ()))))
            for key in sorted(keys)
        )  # fmt: skip
        _write(currency, month, before[month].now, rows)


def _write(currency: str, month: date, version: int, rows: Iterator[tuple[Any, ...]]) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        # The row of the month is the lock: who comes second waits here, and goes away where the first knew as much.
        cursor.execute(CLAIM, [currency, month, version])
        if cursor.fetchone() is None:
            return
        cursor.execute(
            "DELETE FROM cost_expectedrevenue WHERE currency = %s AND month = %s", [currency, month]
        )
        driver: Any = cursor.cursor
        with driver.copy(f"COPY cost_expectedrevenue ({COLUMNS}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)


def keep_all() -> int:
    """Keep every month that pages ask for and that counts no more, newest first; gives how many. Killed, it loses a few."""
    add_up_changes()
    kept = 0
    for currency, months in wanted().items():
        found = standing(currency, months)
        stale = [month for month in sorted(months, reverse=True) if not found[month].counts]
        for place in range(0, len(stale), AT_ONCE):
            keep(currency, stale[place : place + AT_ONCE])
        kept += len(stale)
    return kept


def wanted() -> dict[str, list[date]]:
    """The months that pages ask for, by the currencies they reckon in."""
    known = figures.months()
    if not known:
        return {}
    return {currency: months_back(max(known), KEPT) for currency in currencies()}


def add_up_changes() -> None:
    """Make few rows of many, in one statement: no sum changes."""
    if InputChange.objects.count() > FEW:
        with connection.cursor() as cursor:
            cursor.execute(ADD_UP)


def nudge() -> None:
    """Have months kept soon after a change; without it the clock finds them."""
    # Late: an actor can be made only once the broker is there.
    from . import actors

    actors.keep_expected.send()
