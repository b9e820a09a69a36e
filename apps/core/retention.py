"""How long it is told what happened: events go by whole months, except what somebody still needs.

A month stays as long as something that began in it, or before it, still goes on: its timeline is to be read whole. Single
kinds of events can be kept for good; they move to the default partition when their month goes.
"""

import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta

from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from .models import Event
from .partitions import EVENTS, WAIT, is_owner, ranges

logger = logging.getLogger(__name__)

#: Rows deleted at a time where a month cannot be dropped as a whole, and how often at one call.
AT_ONCE, TIMES = 5_000, 4
#: When the oldest of something began that goes on; None where nothing does.
Since = Callable[[], datetime | None]
_goes_on: dict[str, Since] = {}
_kept: set[str] = set()


def register(what: str, since: Since) -> None:
    """Have events kept from the moment on that `since` gives, however long ago; `what` says of what, in the plural."""
    _goes_on[what] = since


def keep(prefix: str) -> None:
    """Have events kept for good whose kind begins so."""
    _kept.add(prefix)


def oldest_kept(now: datetime | None = None) -> date:
    """The first day of the oldest month of which events are kept."""
    now = now or timezone.now()
    wanted = now - timedelta(days=settings.EVENTS_DAYS)
    day = wanted
    for what, since in _goes_on.items():
        began = since()
        if began is not None and began < day:
            logger.info("events are kept from %s on, for %s that still go on", f"{began:%Y-%m-%d}", what)
            day = began
    return EVENTS.begin(day.astimezone(UTC).date())


def let_go(now: datetime | None = None) -> int:
    """Drop the months of events that are past what is kept; gives how many months and single rows went.

    Rows that no month was made for, and those of a month where the portal does not own the tables, are deleted bit by
    bit. A table that somebody holds for long is tried again at the next call.
    """
    before = oldest_kept(now)
    gone = 0
    if is_owner(EVENTS):
        for name in [name for name, (_, until) in ranges(EVENTS).items() if until <= before]:
            try:
                _drop(name)
                gone += 1
            except OperationalError as error:
                logger.warning("%s was not dropped now: %s", name, error)
                return gone
    return gone + _delete(before)


def _kinds() -> list[str]:
    return [f"{prefix}%" for prefix in sorted(_kept)]


def _drop(name: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(WAIT)
        cursor.execute(f"LOCK TABLE {EVENTS.table} IN ACCESS EXCLUSIVE MODE")
        cursor.execute(
            f"CREATE TEMPORARY TABLE events_kept ON COMMIT DROP AS SELECT * FROM {name} WHERE kind LIKE ANY(%s)",  # noqa: S608 - our own names
            [_kinds()],
        )
        cursor.execute(f"DROP TABLE {name}")
        cursor.execute(f"INSERT INTO {EVENTS.table} SELECT * FROM events_kept")  # noqa: S608 - our own names


def _delete(before: date) -> int:
    kept = Q(pk__in=[])
    for prefix in _kept:
        kept |= Q(kind__startswith=prefix)
    old = Event.objects.filter(at__lt=datetime.combine(before, time.min, tzinfo=UTC)).exclude(kept)
    gone = 0
    for _ in range(TIMES):
        rows = list(old.order_by("at").values_list("pk", "at")[:AT_ONCE])
        if not rows:
            break
        ids, ats = zip(*rows, strict=True)
        gone += Event.objects.filter(pk__in=ids, at__gte=ats[0], at__lte=ats[-1]).delete()[0]
    return gone
