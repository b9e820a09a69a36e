"""The trail's partitions: a month each, made ahead by the owner of the tables, let go as a whole by retention.

What stood before there were months is the partition `first`; what no month was made for goes to `default`, where it
is as safe as anywhere and only not let go. Each partition has its own primary key, and its own trigger against TRUNCATE.
"""

import logging
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime

from django.db import connection, transaction

logger = logging.getLogger(__name__)

#: Months ahead below which the owner is asked for more.
FEW = 2
TABLE = "audit_auditentry"
FIRST = f"{TABLE}_first"
BOUNDS = re.compile(r"FROM \((?:'(?P<since>[^']+)'|MINVALUE)\) TO \('(?P<until>[^']+)'\)")
LISTED = """
    SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = %s::regclass ORDER BY c.relname
"""
OWNS = "SELECT pg_has_role(current_user, relowner, 'USAGE') FROM pg_class WHERE oid = %s::regclass"
#: A month of entries. The row trigger comes with the partition, the statement's does not.
MAKE = """
    CREATE TABLE {name} PARTITION OF {table} FOR VALUES FROM ('{since} 00:00:00+00') TO ('{until} 00:00:00+00');
    ALTER TABLE {name} ADD PRIMARY KEY (id);
    CREATE TRIGGER audit_entry_not_emptied BEFORE TRUNCATE ON {name} FOR EACH STATEMENT EXECUTE FUNCTION audit_stands();
"""


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition; `until` is where it ends, None for the default one."""

    name: str
    until: date | None


def partitions() -> list[Partition]:
    """All of them, by their end; the default one last."""
    with connection.cursor() as cursor:
        cursor.execute(LISTED, [TABLE])
        rows = cursor.fetchall()
    found = [Partition(name, _end_of(bounds)) for name, bounds in rows]
    return sorted(found, key=lambda one: (one.until is None, one.until or date.max))


def _end_of(bounds: str) -> date | None:
    found = BOUNDS.search(bounds)
    return datetime.fromisoformat(found["until"]).astimezone(UTC).date() if found else None


def is_owner() -> bool:
    """Whether the connected role owns the trail's table: it then may make partitions and let them go."""
    with connection.cursor() as cursor:
        cursor.execute(OWNS, [TABLE])
        return bool(cursor.fetchone()[0])


def month_after(day: date) -> date:
    """The first of the next month."""
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


def make_months(today: date, *, ahead: int = 12) -> list[str]:
    """Make the partitions of this month and `ahead` more; gives the names of the new ones. Needs the tables' owner.

    A month of which the default partition holds rows already is left to it.
    """
    made: list[str] = []
    month = today.replace(day=1)
    for _ in range(ahead + 1):
        following, name = month_after(month), f"{TABLE}_{month:%Y_%m}"
        with transaction.atomic(), connection.cursor() as cursor:
            if not _is_taken(name, month, following):
                cursor.execute(MAKE.format(name=name, table=TABLE, since=month, until=following))
                made.append(name)
        month = following
    return made


def _is_taken(name: str, month: date, following: date) -> bool:
    """Whether the month is there, lies in the first partition, or has rows in the default one."""
    there = partitions()
    if any(one.name == name or (one.name == FIRST and one.until and month < one.until) for one in there):
        return True
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT EXISTS (SELECT 1 FROM {TABLE}_default WHERE timestamp >= %s AND timestamp < %s)",  # noqa: S608 - constants
            [
                datetime(month.year, month.month, 1, tzinfo=UTC),
                datetime(following.year, following.month, 1, tzinfo=UTC),
            ],
        )
        return bool(cursor.fetchone()[0])


def keep_ahead() -> list[str]:
    """Make months where the portal runs as the tables' owner; elsewhere say so once few are left. Gives the new ones."""
    today = datetime.now(UTC).date()
    if is_owner():
        return make_months(today)
    if months_left(today) < FEW:
        logger.error(
            "the audit trail has partitions for %s months more: run `manage.py audit months` as the owner of the tables",
            months_left(today),
        )
    return []


def months_left(today: date) -> int:
    """For how many months after this one a partition is there."""
    last = max((one.until for one in partitions() if one.until is not None), default=today)
    return max(0, (last.year - today.year) * 12 + last.month - today.month - 1)
