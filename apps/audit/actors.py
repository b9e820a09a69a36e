"""The trail's actors: each message is a hint, and a lost one is made good by the next."""

import dramatiq

from . import checking, partitions, sealing, streaming


@dramatiq.actor(actor_name="audit_seal", max_retries=0, max_age=10_000, queue_name="audit")
def seal() -> None:
    """Seal what is committed."""
    sealing.seal_if_possible()


@dramatiq.actor(
    actor_name="audit_check", max_retries=0, max_age=600_000, time_limit=3_600_000, queue_name="audit"
)
def check() -> None:
    """Verify the whole trail, where that was not done lately."""
    checking.check_if_due()


@dramatiq.actor(actor_name="audit_stream", max_retries=0, max_age=10_000, queue_name="audit")
def stream() -> None:
    """Send the sealed trail on to who wants it."""
    streaming.deliver_due()


@dramatiq.actor(actor_name="audit_make_months", max_retries=0, max_age=600_000, queue_name="audit")
def make_months() -> None:
    """Keep months ahead of the entries."""
    partitions.keep_ahead()
