"""The portal's own sign of life, to a watcher outside: if alerting dies, somebody hears of that too."""

import logging

import httpx
from django.conf import settings
from django.utils import timezone

from .models import Signal

logger = logging.getLogger(__name__)

#: Seconds that signals may wait before the portal no longer calls itself alive.
STUCK = 120


def beat() -> bool:
    """Ask for ALERTS_WATCHER_URL, unless signals stand still: then silence is what the watcher shall hear."""
    if not settings.ALERTS_WATCHER_URL:
        return False
    oldest = (
        Signal.objects.filter(processed_at__isnull=True)
        .order_by("id")
        .values_list("received_at", flat=True)
        .first()
    )
    if oldest is not None and (timezone.now() - oldest).total_seconds() > STUCK:
        logger.error(
            "signals have been waiting for more than %s s; the watcher is not told that all is well", STUCK
        )
        return False
    try:
        return httpx.get(settings.ALERTS_WATCHER_URL, timeout=10).is_success
    except httpx.HTTPError as error:
        logger.warning("the watcher was not reached: %s", type(error).__name__)
        return False
