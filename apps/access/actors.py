"""Access's actor: each message is a hint to look at the rows."""

import dramatiq

from . import keeping


@dramatiq.actor(max_retries=0, max_age=60_000, queue_name="access")
def keep_access() -> None:
    """End what has run out, and send what is to be told."""
    keeping.keep()
