"""What a rollout has asked for and that has not begun: it begins only while the rollout goes on and the rules let it.

Whoever stops a rollout cancels such operations. One that a worker asks for at that very moment is found by this
guard rail at its start, which the engine asks after its claim is committed. So is one that waited for long (for
approval, for another operation), while a hold, a freeze or a shut window came in its way.
"""

from collections.abc import Collection, Mapping, Sequence

from django.db.models import Exists, OuterRef

from apps.core.arrays import among
from apps.operations.guard_rails import Objection, Request
from apps.operations.models import Operation

from .choices import RolloutState, WaveState
from .models import Release, Rollout, RolloutTarget, Wave
from .standing import frozen_until, held_instances, holds_kept, shut_instances

#: What such an operation's failure begins with: its target only waits then.
NOT_BEGUN = "It was not begun: "
#: States in which a rollout changes nothing onward, and those in which it brings nothing back.
ONWARD_STOPPED = (
    RolloutState.PAUSED,
    RolloutState.ABORTED,
    RolloutState.ROLLING_BACK,
    RolloutState.ROLLED_BACK,
    RolloutState.SUCCEEDED,
)
BACK_STOPPED = (RolloutState.ABORTED, RolloutState.ROLLED_BACK)


def of_stopped_rollouts(request: Request) -> dict[int, Objection]:
    """Objections to the start of operations whose rollout has stopped (but for waves that go back alone), or that a rule holds.

    A few queries, whatever the number of targets; none but the first for what no rollout asked for.
    """
    if not request.starting or request.kind.name != "deploy" or not request.operations:
        return {}
    keys = Operation.objects.filter(
        pk__in=among(request.operations.values()), idempotency_key__startswith="rollout:"
    ).order_by()
    of_rollout: dict[int, list[tuple[int, bool]]] = {}
    for target_id, key in keys.values_list("target_id", "idempotency_key"):
        _, pk, way, *_ = key.split(":")
        of_rollout.setdefault(int(pk), []).append((target_id, way == "back"))
    rollouts = _states(of_rollout)
    found = {
        target_id: Objection(f"{NOT_BEGUN}rollout #{pk} is {RolloutState(state).label.lower()}.")
        for pk, state, _ in rollouts
        for target_id, is_back in of_rollout[pk]
        if state in (BACK_STOPPED if is_back else ONWARD_STOPPED)
    }
    if found:
        for target_id in _of_waves_that_return(of_rollout):
            found.pop(target_id, None)
    onward = {
        target_id: query
        for pk, _, query in rollouts
        for target_id, is_back in of_rollout[pk]
        if not is_back and target_id not in found
    }
    return found | _of_rules(request, onward)


def _of_rules(request: Request, ids: Mapping[int, str]) -> dict[int, Objection]:
    """What holds, freezes and windows say against a start now, by instance with its rollout's filter.

    What goes back waits for none of them.
    """
    release = Release.objects.filter(version=request.params.get("version", "")).first() if ids else None
    if release is None:
        return {}
    frozen = frozen_until(release)
    whys = {
        target.id: frozen.get(None) or frozen[target.account_id]
        for target in request.targets
        if target.id in ids and (None in frozen or target.account_id in frozen)
    }
    whys |= shut_instances(release, ids)
    for query in set(ids.values()):
        mine = [pk for pk, one in ids.items() if one == query]
        whys |= held_instances(mine, release.version, holds_kept(query))
    return {pk: Objection(f"{NOT_BEGUN}{why}") for pk, why in whys.items()}


def _of_waves_that_return(of_rollout: Mapping[int, Sequence[tuple[int, bool]]]) -> list[int]:
    """Instances on their way back because their wave goes back, whatever became of the rollout."""
    back = [target_id for pairs in of_rollout.values() for target_id, is_back in pairs if is_back]
    if not back:
        return []
    going = Wave.objects.filter(
        rollout=OuterRef("rollout"), number=OuterRef("wave"), state=WaveState.RETURNING
    )
    targets = RolloutTarget.objects.filter(rollout__in=list(of_rollout), instance_id__in=among(back))
    return list(targets.filter(Exists(going)).values_list("instance_id", flat=True))


def _states(ids: Collection[int]) -> list[tuple[int, str, str]]:
    """Of rollouts: id, state, filter."""
    rows = Rollout.objects.filter(pk__in=list(ids)).order_by()
    return list(rows.values_list("pk", "state", "query")) if ids else []
