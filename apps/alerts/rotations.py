"""Whose turn it is. Turns are counted in days of the schedule's own zone, and compared as instants.

So a day of 23 or 25 hours is still one day; a handover that the clock skips happens when the clock goes on, and
one that comes twice happens the first time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.exceptions import ValidationError

from .models import OnCallSchedule


def check_zone(name: str) -> None:
    """Raises ValidationError for what is no IANA time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValidationError(f"“{name}” is no time zone; use an IANA name such as Europe/Berlin.") from error


@dataclass(frozen=True, slots=True)
class Turns:
    """The rule alone, without its people."""

    zone: str
    handover: time
    days: int
    starts_on: date
    people: int


def handover_on(day: date, turns: Turns) -> datetime:
    """The instant of the handover on a day, in UTC."""
    return datetime.combine(day, turns.handover, tzinfo=ZoneInfo(turns.zone)).astimezone(UTC)


def place_at(turns: Turns, at: datetime) -> int | None:
    """Which of the people has the turn at an instant; None of nobody, or before the first turn."""
    if not turns.people:
        return None
    day = at.astimezone(ZoneInfo(turns.zone)).date()
    if at < handover_on(day, turns):
        day -= timedelta(days=1)
    elapsed = (day - turns.starts_on).days
    return None if elapsed < 0 else (elapsed // turns.days) % turns.people


def next_handover(turns: Turns, after: datetime) -> datetime:
    """The first end of a turn after an instant, in UTC."""
    day = max(after.astimezone(ZoneInfo(turns.zone)).date() - timedelta(days=1), turns.starts_on)
    elapsed = (day - turns.starts_on).days
    day = turns.starts_on + timedelta(days=elapsed // turns.days * turns.days)
    while (at := handover_on(day, turns)) <= after:
        day += timedelta(days=turns.days)
    return at


def turns_of(schedule: OnCallSchedule, people: Sequence[Any]) -> Turns:
    """A schedule's rule."""
    return Turns(schedule.zone, schedule.handover, schedule.days, schedule.starts_on, len(people))


def on_call(schedule: OnCallSchedule, at: datetime) -> Any | None:
    """Who is on call at an instant: whoever stands in, else whose turn it is. An inactive person is passed over."""
    override = (
        schedule.overrides.filter(starts_at__lte=at, ends_at__gt=at, user__is_active=True)
        .select_related("user")
        .order_by("-id")
        .first()
    )
    if override is not None:
        return override.user
    members = [
        m.user for m in schedule.members.select_related("user").order_by("position") if m.user.is_active
    ]
    place = place_at(turns_of(schedule, members), at)
    return None if place is None else members[place]


def within(at: datetime, zone: str, start: time | None, end: time | None) -> bool:
    """Whether an instant lies between two times of day of a zone, over midnight too; False where either is missing."""
    if start is None or end is None:
        return False
    clock = at.astimezone(ZoneInfo(zone)).time()
    return start <= clock < end if start <= end else clock >= start or clock < end


def next_at(after: datetime, zone: str, clock: time) -> datetime:
    """The next instant after another at which a zone's clock shows a time of day, in UTC."""
    day = after.astimezone(ZoneInfo(zone)).date()
    while (at := datetime.combine(day, clock, tzinfo=ZoneInfo(zone)).astimezone(UTC)) <= after:
        day += timedelta(days=1)
    return at


def changes_at(schedule: OnCallSchedule, at: datetime) -> datetime | None:
    """When somebody else is on call than at an instant, or the next turn begins; None of nobody. Overrides count."""
    members = [m.user for m in schedule.members.select_related("user") if m.user.is_active]
    handover = next_handover(turns_of(schedule, members), at) if members else None
    now, edges = on_call(schedule, at), set()
    for override in schedule.overrides.filter(ends_at__gt=at):
        edges |= {moment for moment in (override.starts_at, override.ends_at) if moment > at}
    for edge in sorted(edge for edge in edges if handover is None or edge < handover):
        if on_call(schedule, edge) != now:
            return edge
    return handover


def check_hours(start: time | None, end: time | None, field: str) -> None:
    """Raises ValidationError on `field` for hours with one end, or with none between them."""
    if (start is None) != (end is None):
        raise ValidationError({field: "Give both ends, or none."})
    if start is not None and start == end:
        raise ValidationError({field: "Both ends are the same: no time lies between them."})
