"""Warning before a security deadline is missed, once at each stage."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from apps.access.services import system_actor
from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record
from apps.core.models import Event

from .models import Advisory, Exposure

#: Time left, and how an event calls it.
STAGES = ((timedelta(0), "missed"), (timedelta(hours=2), "2 h left"), (timedelta(hours=12), "12 h left"))


def warn_before_deadlines() -> int:
    """Write an event for each advisory that came to another stage with somebody still exposed; gives how many."""
    now, told = timezone.now(), 0
    open_ids = Exposure.objects.filter(until__isnull=True).values("advisory_id")
    near = Advisory.objects.filter(pk__in=open_ids, deadline__lt=now + STAGES[-1][0], withdrawn=False)
    for advisory in near.order_by("deadline")[:500]:
        words = next(words for left, words in STAGES if advisory.deadline - now <= left)
        left = Exposure.objects.filter(advisory=advisory, until__isnull=True).count()
        title = f"Security clock of {advisory}: {words}"
        with (
            transaction.atomic(),
            acting(system_actor("exposure"), reason=f"{left:,} instances are still exposed"),
        ):
            if not Event.objects.filter(
                kind="advisory.deadline", title=title, at__gte=advisory.known_at
            ).exists():
                record([event("advisory.deadline", title, tone=Tone.BAD)])
                told += 1
    return told
