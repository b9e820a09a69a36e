"""Rollouts over the same instances: one at a time, or each would undo what the other does."""

from typing import Any

from django.db import connection
from django.db.models import Count, Q, QuerySet

from apps.operations.services import Refused

from .choices import RolloutState, TargetState
from .models import Rollout, RolloutTarget

#: Number of the lock under which rollouts begin to change instances: this app's own.
LOCK = 7_320_012
#: Targets that go on, and those that go back.
ONWARD = (TargetState.WAITING, TargetState.CHANGING, TargetState.FAILED)
BACK = (TargetState.DONE, TargetState.CHANGING)


def taken() -> QuerySet[RolloutTarget]:
    """Targets that their rollout changes, or is about to."""
    onward = Q(
        state__in=[TargetState.WAITING, TargetState.CHANGING],
        rollout__state__in=[RolloutState.RUNNING, RolloutState.PAUSED],
    )
    back = Q(state=TargetState.DONE, rollout__state=RolloutState.ROLLING_BACK)
    moving = Q(state__in=[TargetState.CHANGING, TargetState.RETURNING])
    return RolloutTarget.objects.filter(onward | back | moving).order_by()


def lock() -> None:
    """Wait until no other rollout begins; until the end of the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def refuse_crossing(rollout: Rollout, mine: QuerySet[RolloutTarget]) -> None:
    """Pass where no other rollout changes the instances of these targets. Raises Refused; the caller holds a transaction."""
    lock()
    theirs: Any = (
        taken().exclude(rollout=rollout).filter(instance_id__in=mine.order_by().values("instance_id"))
    )
    met = theirs.values_list("rollout_id").annotate(number=Count("pk")).order_by("-number").first()
    if met is not None:
        raise Refused(
            f"{met[1]:,} of its instances are in rollout #{met[0]}, which changes them now; wait for it or end it first."
        )
