"""The actors of releases. Each message is a hint to look at the rows; old ones are dropped."""

import dramatiq
from django.db.utils import InterfaceError, OperationalError

from . import customers, driving, escalating, exposing, hotpatching

AWAY = (OperationalError, InterfaceError)


#: A busy worker comes to a hint late; one that is dropped for its age would leave rollouts standing for as long.
@dramatiq.actor(max_retries=0, max_age=20_000, priority=-10, queue_name="rollouts", throws=AWAY)
def advance_rollouts() -> None:
    """Drive the rollouts that have something to do."""
    driving.advance_all(shift=2.0)


@dramatiq.actor(max_retries=0, max_age=10_000, queue_name="rollouts", throws=AWAY)
def watch_exposure() -> None:
    """See who is exposed now, and who is no longer."""
    exposing.watch_exposure()


@dramatiq.actor(max_retries=0, max_age=60_000, queue_name="rollouts", throws=AWAY)
def ask_before_deadlines() -> None:
    """Ask people before security deadlines while somebody is still exposed."""
    escalating.ask_before_deadlines()


@dramatiq.actor(max_retries=0, max_age=60_000, queue_name="rollouts", throws=AWAY)
def send_customer_notices() -> None:
    """Write the letters of notices that are to be sent."""
    customers.send_queued()


@dramatiq.actor(max_retries=0, max_age=30_000, queue_name="rollouts", throws=AWAY)
def watch_hot_patches() -> None:
    """See which hot patches came in force, are over, or have to be reminded of."""
    hotpatching.watch_hot_patches()
