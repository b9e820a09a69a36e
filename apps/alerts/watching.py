"""The portal's own sign of life, to a watcher outside: if alerting dies, somebody hears of that too."""

import logging
from datetime import datetime, timedelta

import httpx
from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from .choices import EscalationState, PageState
from .models import Escalation, Page, Signal

logger = logging.getLogger(__name__)

#: Seconds that signals, steps and pages may wait before the portal no longer calls itself alive.
STUCK = 120


def stands_still(now: datetime | None = None) -> str:
    """What of alerting has stood still for too long, from signal to page, in words; "" while it moves. Three queries."""
    before = (now or timezone.now()) - timedelta(seconds=STUCK)
    waits = Q(state=PageState.PENDING, next_at__lt=before)
    if Signal.objects.filter(processed_at__isnull=True, received_at__lt=before).exists():
        return "signals have been waiting"
    if Escalation.objects.filter(state=EscalationState.ACTIVE, next_at__lt=before).exists():
        return "steps of escalations have been due"
    if Page.objects.filter(waits | Q(state=PageState.SENDING, lease_until__lt=before)).exists():
        return "pages have been waiting to be sent"
    return ""


def beat() -> bool:
    """Ask for ALERTS_WATCHER_URL, unless something stands still: then silence is what the watcher shall hear."""
    if not settings.ALERTS_WATCHER_URL:
        return False
    if what := stands_still():
        logger.error("%s for more than %s s; the watcher is not told that all is well", what, STUCK)
        return False
    try:
        return httpx.get(settings.ALERTS_WATCHER_URL, timeout=10).is_success
    except httpx.HTTPError as error:
        logger.warning("the watcher was not reached: %s", type(error).__name__)
        return False
