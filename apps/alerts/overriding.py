"""Somebody stands in for whoever's turn it is, for a while."""

from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone

from apps.access.choices import Permission
from apps.access.scoping import holds, scopes_of
from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record

from .models import OnCallOverride, OnCallSchedule
from .services import Refused

#: How long somebody can stand in at a time; more is a matter of the schedule.
LONGEST = timedelta(days=31)


def may_put(user: Any, whom: Any) -> bool:
    """Anybody who manages alerts somewhere may stand in; to put somebody else on call takes all of it."""
    if scopes_of(user, Permission.MANAGE_ALERTS).everything:
        return True
    return bool(user == whom and holds(user, Permission.MANAGE_ALERTS))


def stand_in(
    *, schedule: OnCallSchedule, user: Any, starts_at: datetime, ends_at: datetime, reason: str, actor: Any
) -> OnCallOverride:
    """Put `user` on call for a while. Of overrides at one time the last made counts. Raises Refused, PermissionDenied."""
    if not may_put(actor, user):
        raise PermissionDenied("You may stand in yourself; to put somebody else on call, manage all alerts.")
    reason = " ".join(reason.replace("\x00", "").split())[:200]
    if len(reason) < 3:
        raise Refused("Say why, in a few words.")
    if ends_at <= starts_at:
        raise Refused("It has to end after it begins.")
    if ends_at <= timezone.now():
        raise Refused("It would have ended already.")
    if ends_at - starts_at > LONGEST:
        raise Refused(f"At most {LONGEST.days} days at a time; for longer, change the schedule.")
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        OnCallSchedule.objects.select_for_update().get(pk=schedule.pk)
        same = {"schedule": schedule, "user": user, "starts_at": starts_at, "ends_at": ends_at}
        if (known := OnCallOverride.objects.filter(**same).first()) is not None:
            return known  # asked for twice
        made = OnCallOverride.objects.create(reason=reason, **same)
        until = f"{ends_at:%Y-%m-%d %H:%M} UTC"
        record(
            [
                event(
                    "oncall.stand_in",
                    f"{user} stands in on “{schedule}” until {until}",
                    why=reason,
                    actor=actor,
                )
            ]
        )
    return made


def end_override(found: OnCallOverride, *, actor: Any) -> None:
    """From now on the turn counts again. Raises Refused for one that is over, PermissionDenied."""
    if not may_put(actor, found.user):
        raise PermissionDenied("Only who stands in may end it, or who manages all alerts.")
    now = timezone.now()
    with transaction.atomic(durable=True), acting(actor, reason=f"ends the override of {found.user}"):
        locked = OnCallOverride.objects.select_for_update().get(pk=found.pk)
        if locked.ends_at <= now:
            raise Refused("It is over already.")
        if locked.starts_at >= now:
            locked.delete()
        else:
            locked.ends_at = now
            locked.save()
        words = f"{locked.user} no longer stands in on “{locked.schedule}”"
        record([event("oncall.stood_in", words, tone=Tone.PLAIN, actor=actor)])
