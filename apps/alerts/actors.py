"""Alerting's actors: each message is a hint to look at the rows. Old hints are dropped, the ticks send new ones."""

import dramatiq

from . import clock, escalation, processing, recovery, sending, watching
from .rules import evaluating
from .runbooks import keeping


@dramatiq.actor(max_retries=0, max_age=10_000, queue_name="alerts")
def process_signals() -> None:
    """Carry waiting signals into alerts and incidents."""
    processing.process_signals()


@dramatiq.actor(max_retries=0, max_age=10_000, queue_name="alerts")
def escalate() -> None:
    """Take the steps that are due."""
    escalation.escalate()


@dramatiq.actor(max_retries=0, max_age=10_000, queue_name="alerts")
def decide_recoveries() -> None:
    """Decide about open alerts, and carry it out."""
    recovery.decide()


@dramatiq.actor(max_retries=0, max_age=10_000, time_limit=300_000, queue_name="pages")
def send_pages() -> None:
    """Send what waits in the outbox."""
    sending.send_pages()


@dramatiq.actor(max_retries=0, max_age=10_000, queue_name="alerts")
def tick() -> None:
    """Look at everything that time may have brought."""
    clock.tick()


@dramatiq.actor(max_retries=0, max_age=10_000, queue_name="alerts")
def slow_tick() -> None:
    """Look at what changes slowly."""
    clock.slow_tick()


@dramatiq.actor(max_retries=0, max_age=600_000, queue_name="alerts")
def forget_old_signals() -> None:
    """Keep the table of signals short."""
    processing.forget()


@dramatiq.actor(max_retries=0, max_age=30_000, queue_name="alerts")
def tell_the_watcher() -> None:
    """The portal's own sign of life."""
    watching.beat()


@dramatiq.actor(max_retries=0, max_age=60_000, queue_name="alerts")
def take_over_library() -> None:
    """Take over the repository's runbooks."""
    keeping.take_over_library()


@dramatiq.actor(max_retries=0, max_age=15_000, time_limit=120_000, queue_name="alerts")
def evaluate_rules() -> None:
    """Evaluate the portal's own rules."""
    evaluating.evaluate()
