"""What goes back when a rollout is rolled back: what it brought, and nothing that came later or from elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from apps.access.models import User
from apps.access.services import take_grant
from apps.fleet.models import Cell, Instance
from apps.operations import runner
from apps.operations.models import Operation
from apps.operations.services import submit
from apps.releases import driving
from apps.releases.choices import RolloutState, TargetState
from apps.releases.models import Release, Rollout
from apps.releases.returning import retarget, roll_back_wave
from apps.releases.rollouts import steer
from tests.factories import as_system, grant, make_user
from tests.releases.conftest import make_release, run, start

Fleet = Callable[[int], list[Instance]]
WHY = "as the test wants it"


@pytest.fixture(autouse=True)
def before(db: None) -> Release:
    """What runs is known, so that one can go back to it when nobody runs it any more."""
    return make_release("1.0.0")


def versions(instances: list[Instance]) -> list[str]:
    return list(
        Instance.objects.filter(pk__in=[i.pk for i in instances])
        .order_by("name")
        .values_list("version", flat=True)
    )


def targets(rollout: Rollout) -> list[tuple[str, str]]:
    return list(rollout.targets.order_by("instance__name").values_list("state", "why"))


def deploy(instance: Instance, version: str, boss: User) -> None:
    submit(kind="deploy", target_id=instance.pk, params={"version": version}, actor=boss, reason=WHY)
    for _ in range(10):
        runner.run_due()


@pytest.mark.parametrize("by", ["rollout", "hand"])
def test_what_was_given_a_later_version_keeps_it(fleet: Fleet, release: Release, boss: User, by: str) -> None:
    instances = fleet(3)
    rollout = run(start(release, boss))
    later = make_release("3.0.0", kind="security")
    if by == "rollout":
        assert run(start(later, boss)).state == RolloutState.SUCCEEDED
    else:
        deploy(instances[1], "3.0.0", boss)
    steer(rollout, "roll_back", actor=boss, reason=WHY)
    assert run(rollout).state == RolloutState.ROLLED_BACK
    if by == "rollout":
        assert versions(instances) == ["3.0.0"] * 3
        assert "but 3" in rollout.why
    else:
        assert versions(instances) == ["1.0.0", "3.0.0", "1.0.0"]
    assert targets(rollout)[1] == (TargetState.STAYED, "It was given 3.0.0 since, which stays.")


def test_so_it_is_when_a_wave_alone_goes_back(fleet: Fleet, release: Release, boss: User) -> None:
    instances = fleet(3)
    rollout = run(start(release, boss, canary="2"))
    make_release("3.0.0")
    deploy(instances[0], "3.0.0", boss)
    roll_back_wave(rollout, 1, actor=boss, reason=WHY)
    run(rollout)
    assert versions(instances) == ["3.0.0", "1.0.0", "2.0.0"]
    assert targets(rollout)[0][0] == TargetState.STAYED


def test_what_was_brought_back_by_hand_is_back(fleet: Fleet, release: Release, boss: User) -> None:
    instances = fleet(2)
    rollout = run(start(release, boss))
    deploy(instances[0], "1.0.0", boss)
    steer(rollout, "roll_back", actor=boss, reason=WHY)
    assert run(rollout).state == RolloutState.ROLLED_BACK
    assert versions(instances) == ["1.0.0", "1.0.0"]
    assert [state for state, _ in targets(rollout)] == [TargetState.RETURNED] * 2


def test_what_somebody_else_had_brought_there_stays(fleet: Fleet, release: Release, boss: User) -> None:
    instances = fleet(3)
    rollout = start(release, boss, canary="1", growth=2)
    last = rollout.targets.get(wave=2, position=1).instance
    deploy(last, "2.0.0", boss)
    assert run(rollout).state == RolloutState.SUCCEEDED
    assert rollout.targets.get(instance=last).why == "it ran this version already"
    steer(rollout, "roll_back", actor=boss, reason=WHY)
    run(rollout)
    assert sorted(versions(instances)) == ["1.0.0", "1.0.0", "2.0.0"]
    assert rollout.targets.get(instance=last).state == TargetState.STAYED


def test_what_it_brought_before_its_version_was_changed_goes_back_too(
    fleet: Fleet, release: Release, boss: User
) -> None:
    instances = fleet(3)
    rollout = start(release, boss, bake_seconds=3_600)
    run(rollout)
    steer(rollout, "pause", actor=boss, reason=WHY)
    assert sorted(versions(instances)) == ["1.0.0", "1.0.0", "2.0.0"]
    retarget(rollout, make_release("2.0.1"), actor=boss, reason=WHY)
    steer(rollout, "roll_back", actor=boss, reason=WHY)
    assert run(rollout).state == RolloutState.ROLLED_BACK
    assert versions(instances) == ["1.0.0"] * 3


def test_a_way_back_that_was_aborted_before_it_began_can_be_ordered_again(
    fleet: Fleet, release: Release, boss: User
) -> None:
    instances = fleet(3)
    rollout = run(start(release, boss))
    steer(rollout, "roll_back", actor=boss, reason=WHY)
    driving.advance_all()
    assert {state for state, _ in targets(rollout)} == {TargetState.RETURNING}
    steer(rollout, "abort", actor=boss, reason=WHY)
    run(rollout)
    assert {state for state, _ in targets(rollout)} == {TargetState.DONE}, "nothing of it has begun"
    steer(rollout, "roll_back", actor=boss, reason=WHY)
    assert run(rollout).state == RolloutState.ROLLED_BACK
    assert versions(instances) == ["1.0.0"] * 3


def test_who_orders_it_does_it_in_their_own_name(
    fleet: Fleet, release: Release, boss: User, cell: Cell
) -> None:
    """Who started it may be gone by then, or hold no more than they did for that hour."""
    instances = fleet(3)
    olga = make_user("olga")
    given = grant(olga, "operator", "cell", cell)
    rollout = run(start(release, olga, canary="1"))
    assert rollout.state == RolloutState.SUCCEEDED
    with as_system():
        take_grant(given, actor=boss, reason=WHY)
    roll_back_wave(rollout, 2, actor=boss, reason=WHY)
    run(rollout)
    assert sorted(versions(instances)) == ["1.0.0", "1.0.0", "2.0.0"]
    steer(rollout, "roll_back", actor=boss, reason=WHY)
    assert run(rollout).state == RolloutState.ROLLED_BACK
    assert versions(instances) == ["1.0.0"] * 3


def test_one_whose_own_way_back_failed_is_brought_back_with_the_others(
    fleet: Fleet, release: Release, boss: User
) -> None:
    """Its change failed, and so did the undoing: it still runs the new version."""
    instances = fleet(2)
    rollout = run(start(release, boss, canary="2"))
    stuck = rollout.targets.get(instance=instances[0])
    Operation.objects.filter(pk=stuck.operation_id).update(state="failed", error="its provider was away")
    rollout.targets.filter(pk=stuck.pk).update(state=TargetState.FAILED, attempt=2)
    with as_system():
        Instance.objects.filter(pk=instances[0].pk).update(wanted_version="1.0.0")
    steer(rollout, "roll_back", actor=boss, reason=WHY)
    assert run(rollout).state == RolloutState.ROLLED_BACK
    assert versions(instances) == ["1.0.0"] * 2
    assert {state for state, _ in targets(rollout)} == {TargetState.RETURNED}
