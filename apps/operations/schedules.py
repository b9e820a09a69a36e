"""When a cron line is next due."""

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError


def next_time(cron: str, zone: str, after: datetime) -> datetime:
    """The next time of `cron` in `zone` after `after`; ValueError says which of the two is wrong.

    Daylight saving is cronsim's rule, Debian cron's: a time skipped by the clock runs right after
    the gap, one that comes twice runs once.
    """
    try:
        local = after.astimezone(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"“{zone}” is no time zone; use an IANA name such as Europe/Berlin.") from error
    try:
        return next(CronSim(cron, local)).astimezone(after.tzinfo)
    except (CronSimError, StopIteration) as error:
        raise ValueError(f"“{cron}” is no cron line; five fields are needed, such as 0 3 * * 1.") from error
