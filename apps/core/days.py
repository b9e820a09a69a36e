"""When days begin and end in the reader's zone, for filters by date."""

from datetime import date, datetime, time, timedelta

from django.utils import timezone


def begins(day: date) -> datetime:
    """Midnight at which a day begins, in the zone that is active."""
    return timezone.make_aware(datetime.combine(day, time.min))


def ends(day: date) -> datetime:
    """Midnight at which a day ends; of the last day there is in the calendar its beginning, since no other follows."""
    return begins(day + timedelta(days=1) if day < date.max else day)
