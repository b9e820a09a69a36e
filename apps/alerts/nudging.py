"""Hints to workers: lost ones are made up for by the ticks, so a queue that is away is logged and nothing more."""

import logging

logger = logging.getLogger(__name__)


def nudge(actor: str) -> None:
    """Send one message to the actor of this name."""
    from . import actors

    try:
        getattr(actors, actor).send()
    except Exception as error:  # noqa: BLE001 - whatever the broker raises; the tick will nudge again
        logger.warning("%s not nudged, the queue is away (the tick will): %s", actor, error)
