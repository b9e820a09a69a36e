"""Maintenance windows: when a tenant may be changed, by its own clock. Pure, so that every change of clocks can be tested."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
#: (days of the week, when it opens by the tenant's clock, minutes).
Weekly = tuple[Sequence[int], time, int]


def zone_of(name: str) -> ZoneInfo:
    """A tenant's zone; UTC for one that this machine does not know."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def openings(
    weekly: Weekly, zone: ZoneInfo, since: datetime, until: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """The times in UTC, oldest first, at which a window is open between two moments.

    It lasts its minutes of real time, whatever the clocks do in it; where they skip the time at which it would open,
    it opens as long after the skip as it would have been after its beginning.
    """
    days, opens_at, minutes = weekly
    # A day before: that day's window may last past midnight.
    day: date = since.astimezone(zone).date() - timedelta(days=1)
    while day <= until.astimezone(zone).date():
        if day.weekday() in days:
            start = datetime.combine(day, opens_at, tzinfo=zone).astimezone(UTC)
            end = start + timedelta(minutes=minutes)
            if end > since and start < until:
                yield start, end
        day += timedelta(days=1)


def opens_next(windows: Sequence[Weekly], zone: ZoneInfo, now: datetime) -> datetime | None:
    """When the next of these windows opens: `now` or before where one is open, None where none ever does."""
    week = now + timedelta(days=8)
    return min((start for one in windows for start, _ in openings(one, zone, now, week)), default=None)


def words_of(weekly: Weekly) -> str:
    """“Sat, Sun 22:00 for 2 h”."""
    days, opens_at, minutes = weekly
    long = f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"
    return f"{', '.join(DAYS[day] for day in sorted(days))} {opens_at:%H:%M} for {long}"
