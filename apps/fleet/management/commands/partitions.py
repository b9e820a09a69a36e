"""`manage.py partitions`: what the clock does where the portal owns its tables."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.core import partitions, retention

from ... import history


class Command(BaseCommand):
    """Make the months of events and days of the history to come, drop those that are past what is kept."""

    help = "Make partitions of events and of the history ahead, drop old ones. Run it as the owner of the tables."

    def handle(self, *args: Any, **options: Any) -> None:
        """Twice is the same as once."""
        both = (partitions.EVENTS, history.DAYS)
        if not all(partitions.is_owner(parted) for parted in both):
            raise CommandError(
                "This role does not own the tables: connect as the one that migrates (DATABASE_URL)."
            )
        before = {name for parted in both for name in partitions.ranges(parted)}
        history.make_days_ahead()
        history.forget_old_measurements()
        retention.let_go()
        after = {name for parted in both for name in partitions.ranges(parted)}
        self.stdout.write(f"made: {', '.join(sorted(after - before)) or 'none'}")
        self.stdout.write(f"dropped: {', '.join(sorted(before - after)) or 'none'}")
