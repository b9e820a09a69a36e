"""The fleet's actors. Old hints are dropped: a look at the fleet of ten seconds ago helps nobody."""

import dramatiq

from apps.core import retention

from . import history, probing
from .certificates import looking, renewing


@dramatiq.actor(max_retries=0, max_age=10_000, queue_name="probes")
def probe() -> None:
    """Look at the fleet."""
    probing.probe()


@dramatiq.actor(max_retries=0, max_age=4_000, queue_name="probes")
def help_probe() -> None:
    """Look at the fleet beside another."""
    probing.help_probe()


@dramatiq.actor(max_retries=0, max_age=10_000, queue_name="probes")
def probe_simulated() -> None:
    """Look at the simulated part of the fleet."""
    probing.probe_simulated()


@dramatiq.actor(max_retries=0, max_age=30_000, queue_name="probes")
def measure() -> None:
    """Keep a measurement of each instance."""
    probing.measure()


@dramatiq.actor(max_retries=0, max_age=600_000, queue_name="probes")
def forget_old_measurements() -> None:
    """Keep the coarse history short."""
    history.forget_old_measurements()


@dramatiq.actor(max_retries=0, max_age=600_000, queue_name="probes")
def let_events_go() -> None:
    """Keep the events no longer than is said."""
    retention.let_go()


@dramatiq.actor(max_retries=0, max_age=600_000, queue_name="probes")
def make_days_ahead() -> None:
    """Make the next partitions."""
    history.make_days_ahead()


@dramatiq.actor(max_retries=0, max_age=15_000, time_limit=300_000, queue_name="probes")
def look_at_certificates() -> None:
    """See what is really served."""
    looking.look()


@dramatiq.actor(max_retries=0, max_age=60_000, queue_name="probes")
def renew_certificates() -> None:
    """Ask for the rotations that are due."""
    renewing.renew()
