"""What stands between exposed instances and safety: holds, locks, failures, windows, health, or nothing but time."""

from collections.abc import Mapping, Sequence

from django.db.models import QuerySet

from apps.fleet.choices import WRONG

from .choices import RolloutState, TargetState
from .models import Exposure, Hold, RolloutTarget
from .standing import held_instances

STOPPED = (
    TargetState.FAILED,
    TargetState.STAYED,
    TargetState.HELD,
    TargetState.SKIPPED,
    TargetState.EXCLUDED,
)


def latest_moves(instance_ids: Sequence[int]) -> dict[int, RolloutTarget]:
    """The last rollout that named each instance, by instance; discarded ones do not count. One query."""
    rows = RolloutTarget.objects.filter(instance_id__in=instance_ids)
    rows = rows.exclude(rollout__state=RolloutState.CANCELLED).select_related("rollout")
    return {target.instance_id: target for target in rows.order_by("rollout_id")}


def blockers_of(
    exposures: Sequence[Exposure], moves: Mapping[int, RolloutTarget], holds: QuerySet[Hold] | None = None
) -> dict[int, str]:
    """What blocks each, in words, by its id; empty: nothing but that nobody has begun. `moves` as `latest_moves`. One query.

    `holds`: what is told of, of holds.
    """
    held = held_instances([row.instance_id for row in exposures], None, holds)
    return {row.pk: _blocker(row, held, moves.get(row.instance_id)) for row in exposures}


def _blocker(row: Exposure, held: dict[int, str], move: RolloutTarget | None) -> str:
    if why := held.get(row.instance_id):
        return why
    if row.instance.locked_reason:
        return f"locked: {row.instance.locked_reason}"
    if move is not None and move.state in STOPPED:
        return f"{move.get_state_display().lower()}: {move.why}".rstrip(": ")
    if row.instance.health in WRONG:
        return f"it is {row.instance.get_health_display().lower()}: {row.instance.health_detail}".rstrip(": ")
    if move is not None and move.rollout.state in (RolloutState.RUNNING, RolloutState.PAUSED):
        waits = f": {move.why}" if move.why else ""
        return f"{move.rollout.get_state_display().lower()}, wave {move.wave}{waits}"
    return ""
