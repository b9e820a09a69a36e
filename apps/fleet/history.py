"""The coarse history: its days made ahead, thinned, and dropped as a whole when they are past what is kept."""

from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import OperationalError
from django.utils import timezone

from apps.core import partitions

from .models import Measurement
from .queries.metrics import COARSE, thinner

DAYS = partitions.Parted("fleet_measurement", "day", "ALTER TABLE {name} ADD PRIMARY KEY (id)")
#: Days that are made ahead: a portal that stands still for so long finds its days when it is back.
AHEAD = 7
#: Days for which every measurement is kept; after that one each COARSE, for HISTORY_DAYS.
KEEP_DAYS = 2
THINNED_AT_ONCE = timedelta(hours=12)


def forget_old_measurements(now: datetime | None = None) -> int:
    """Thin what is past its two days to one row each five minutes, drop what is past HISTORY_DAYS; gives how many rows went.

    Counters lose nothing by it but what a restart hides. A call looks at the last hours that came of age, so that one
    that was missed is made up for. Rows of a day that cannot be dropped as a whole are deleted.
    """
    now = now or timezone.now()
    oldest = now - timedelta(days=settings.HISTORY_DAYS)
    gone: int = Measurement.objects.filter(at__lt=oldest).delete()[0]
    if partitions.is_owner(DAYS):
        partitions.drop(DAYS, oldest.astimezone(UTC).date())
    aged = now - timedelta(days=KEEP_DAYS)
    rows = Measurement.objects.filter(at__lt=aged, at__gte=aged - THINNED_AT_ONCE)
    return gone + thinner(rows, COARSE).delete()[0]


def make_days_ahead() -> list[str]:
    """The next days of the history and months of the events, before they begin; gives the names of the new ones.

    A table that somebody holds for long is tried again at the next call: its default partition loses nothing meanwhile.
    """
    made: list[str] = []
    for parted, ahead in ((DAYS, AHEAD), (partitions.EVENTS, 2)):
        try:
            made += partitions.keep_ahead(parted, ahead=ahead)
        except OperationalError as error:
            partitions.logger.warning("no partition of %s was made now: %s", parted.table, error)
    return made
