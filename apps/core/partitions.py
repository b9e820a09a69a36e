"""Months of the event table: made ahead, dropped when they are past what is kept."""

import re
from datetime import date

from django.db import connection, transaction

TABLE = "core_event"
NAME = re.compile(r"^core_event_(\d{4})_(\d{2})$")


def _next_month(day: date) -> date:
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


def make_months(today: date, *, ahead: int = 2) -> list[str]:
    """Make the partitions of this month and `ahead` more; gives the names of those that are new.

    A month for which the default partition holds rows already is left to it: they stay found, only
    not dropped as a whole.
    """
    made: list[str] = []
    month = today.replace(day=1)
    for _ in range(ahead + 1):
        following = _next_month(month)
        name = f"{TABLE}_{month:%Y_%m}"
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
            exists = cursor.fetchone()[0]
            cursor.execute(
                "SELECT EXISTS (SELECT 1 FROM core_event_default WHERE at >= %s AND at < %s)",
                [month, following],
            )
            taken = cursor.fetchone()[0]
            if not exists and not taken:
                cursor.execute(
                    f"CREATE TABLE {name} PARTITION OF {TABLE} FOR VALUES FROM ('{month}') TO ('{following}')"
                )
                made.append(name)
        month = following
    return made


def drop_months(before: date) -> list[str]:
    """Drop the months that ended on or before `before`; gives their names."""
    dropped: list[str] = []
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = %s::regclass",
            [TABLE],
        )
        for (name,) in cursor.fetchall():
            found = NAME.match(name)
            if found and _next_month(date(int(found[1]), int(found[2]), 1)) <= before:
                cursor.execute(f"DROP TABLE {name}")
                dropped.append(name)
    return dropped
