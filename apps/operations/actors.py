"""The engine's actor: each message is a hint to look at the rows."""

import dramatiq
from django.db.utils import InterfaceError, OperationalError

from . import runner


@dramatiq.actor(
    max_retries=0, time_limit=3_600_000, queue_name="operations", throws=(OperationalError, InterfaceError)
)
def run_ready() -> None:
    """Work on what is due. No retry: the reconciler sends another hint, and the rows remember."""
    runner.run_due()
