"""Tables kept by stretches of time: partitions made ahead, dropped when they are past what is kept.

What no partition was made for goes to the default one: it is found there as anywhere, only not dropped as a whole.
"""

import logging
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from django.db import connection, transaction

logger = logging.getLogger(__name__)

BOUNDS = re.compile(r"FROM \((?:'(?P<since>[^']+)'|MINVALUE)\) TO \('(?P<until>[^']+)'\)")
LISTED = """
    SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = %s::regclass ORDER BY c.relname
"""
OWNS = "SELECT pg_has_role(current_user, relowner, 'USAGE') FROM pg_class WHERE oid = %s::regclass"
#: Making and dropping wait for the table no longer than this: whoever reads and writes it would wait behind them.
WAIT = "SET LOCAL lock_timeout = '2s'"


@dataclass(frozen=True, slots=True)
class Parted:
    """A table partitioned by its column `at`, in months or days of UTC; `more` is said of each new partition."""

    table: str
    every: Literal["month", "day"] = "month"
    more: str = ""

    def begin(self, day: date) -> date:
        """When the stretch begins in which a day lies."""
        return day.replace(day=1) if self.every == "month" else day

    def after(self, begin: date) -> date:
        """When the next stretch begins."""
        if self.every == "day":
            return begin + timedelta(days=1)
        return date(begin.year + begin.month // 12, begin.month % 12 + 1, 1)

    def name(self, begin: date) -> str:
        """The partition's name."""
        return f"{self.table}_{begin:%Y_%m}" + (f"_{begin:%d}" if self.every == "day" else "")


EVENTS = Parted("core_event")


def ranges(parted: Parted) -> dict[str, tuple[date | None, date]]:
    """By partition, when it begins (None: ever) and ends; the default one has no range and is left out."""
    with connection.cursor() as cursor:
        cursor.execute(LISTED, [parted.table])
        rows = [(name, BOUNDS.search(bounds)) for name, bounds in cursor.fetchall()]
    return {
        name: (_day(found["since"]) if found["since"] else None, _day(found["until"]))
        for name, found in rows
        if found
    }


def _day(text: str) -> date:
    return datetime.fromisoformat(text).astimezone(UTC).date()


def is_owner(parted: Parted) -> bool:
    """Whether the connected role owns the table: only then it makes partitions and drops them."""
    with connection.cursor() as cursor:
        cursor.execute(OWNS, [parted.table])
        return bool(cursor.fetchone()[0])


def make(parted: Parted, today: date, *, ahead: int) -> list[str]:
    """Make the partition of today and `ahead` more; gives the names of those that are new.

    A stretch for which the default partition holds rows already is left to it.
    """
    made: list[str] = []
    there = ranges(parted)
    begin = parted.begin(today)
    for _ in range(ahead + 1):
        end = parted.after(begin)
        is_there = any((since is None or since <= begin) and begin < until for since, until in there.values())
        if not is_there and _make_one(parted, begin, end):
            made.append(parted.name(begin))
        begin = end
    return made


def _make_one(parted: Parted, begin: date, end: date) -> bool:
    name, table = parted.name(begin), parted.table
    since, until = f"{begin} 00:00:00+00", f"{end} 00:00:00+00"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(WAIT)
        cursor.execute(
            f"SELECT EXISTS (SELECT 1 FROM {table}_default WHERE at >= %s AND at < %s)",  # noqa: S608 - our constants
            [since, until],
        )
        if cursor.fetchone()[0]:
            return False
        cursor.execute(f"CREATE TABLE {name} PARTITION OF {table} FOR VALUES FROM ('{since}') TO ('{until}')")
        if parted.more:
            cursor.execute(parted.more.format(name=name))
    return True


def drop(parted: Parted, before: date) -> list[str]:
    """Drop the partitions that ended on or before `before`; gives their names."""
    dropped = [name for name, (_, until) in ranges(parted).items() if until <= before]
    for name in dropped:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(WAIT)
            cursor.execute(f"DROP TABLE {name}")
    return dropped


def keep_ahead(parted: Parted, *, ahead: int) -> list[str]:
    """`make`, where the portal runs as the table's owner; elsewhere say once it is needed. Gives the new ones."""
    today = datetime.now(UTC).date()
    if is_owner(parted):
        return make(parted, today, ahead=ahead)
    if max((until for _, until in ranges(parted).values()), default=today) <= today:
        logger.error(
            "%s has no partition for today, and this role does not own it: the default one takes it",
            parted.table,
        )
    return []


def make_months(today: date, *, ahead: int = 2) -> list[str]:
    """Make the event table's months; see `make`."""
    return make(EVENTS, today, ahead=ahead)
