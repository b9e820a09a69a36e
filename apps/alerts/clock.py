"""What alerting does again and again, whatever hints were lost."""

import logging
from collections.abc import Callable

from . import certificates, escalation, health, heartbeats, processing, recovery, sending
from .runbooks import running, scheduling

logger = logging.getLogger(__name__)


def tick() -> None:
    """Every two seconds: signals, incidents, steps, recoveries, the outbox. A fault in one does not stop the others."""
    _each(
        processing.process_signals,
        processing.settle,
        recovery.see_results,
        recovery.decide,
        scheduling.start_due,
        running.advance,
        escalation.escalate,
        sending.wake,
    )


def slow_tick() -> None:
    """Every ten seconds: what was held back, what was not heard of, who is told by now."""
    _each(health.catch_up, heartbeats.look, certificates.look, escalation.find_policies)


def _each(*parts: Callable[[], int]) -> None:
    failed: list[Exception] = []
    for part in parts:
        try:
            part()
        except Exception as error:
            logger.exception("%s failed; the next tick tries again", part.__qualname__)
            failed.append(error)
    if failed:
        raise failed[0]
