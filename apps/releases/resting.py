"""The rest between two rings: after a ring's last wave has passed, the next ring waits as long as the plan says."""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record
from apps.operations.services import Refused

from .choices import BEHIND, RolloutState, WaveState
from .models import Rollout, Wave

#: What the note of a rollout that rests begins with.
RESTS = "Ring "


def why_rests(rollout: Rollout, wave: Wave) -> str:
    """Why a wave does not begin yet; empty where it has begun, or nothing is to be waited for."""
    if wave.state != WaveState.PLANNED or wave.number == 1:
        return ""
    before = rollout.waves.filter(number=wave.number - 1, rest_seconds__gt=0, finished_at__isnull=False)
    last = before.first()
    if last is None or last.finished_at is None:
        return ""
    until = last.finished_at + timedelta(seconds=last.rest_seconds)
    if until <= timezone.now():
        return ""
    return f"{RESTS}“{last.ring}” rests; “{wave.ring}” begins {until:%Y-%m-%d %H:%M} UTC."


def is_resting(rollout: Rollout) -> bool:
    """Whether it rested when it was last driven."""
    return rollout.state == RolloutState.RUNNING and rollout.note.startswith(RESTS)


def end_rest(rollout: Rollout, *, actor: Any, reason: str) -> None:
    """Let the next ring begin now. The caller has checked that `actor` may; raises Refused where nothing rests."""
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        locked = Rollout.objects.select_for_update().get(pk=rollout.pk)
        wave = locked.waves.exclude(state__in=BEHIND).order_by("number").first()
        if locked.state != RolloutState.RUNNING or wave is None or not why_rests(locked, wave):
            raise Refused("No ring rests (any more).")
        ring = wave.ring
        locked.waves.filter(number=wave.number - 1).update(rest_seconds=0)
        Rollout.objects.filter(pk=locked.pk).update(why=f"Ring “{ring}” begins by hand: {reason}"[:500])
        title = f"Rollout #{locked.pk}: ring “{ring}” begins by hand, before the rest was over"
        record([event("rollout.rest_ended", title, tone=Tone.WARN)])
