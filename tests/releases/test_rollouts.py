"""A rollout over simulated instances: waves, gates, orders, and what the engine was asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404

from apps.access.models import User
from apps.fleet.models import Cell, Instance, SimulatedEffect
from apps.operations import runner
from apps.operations.choices import State
from apps.operations.models import Operation
from apps.operations.services import Refused
from apps.releases import driving
from apps.releases.choices import Life, RolloutState, TargetState, Verdict, WaveState
from apps.releases.models import Release, Rollout
from apps.releases.rollouts import orders_of, prepare_rollout, steer, steer_target
from tests.factories import as_system, grant, make_cell, make_instance, make_user
from tests.releases.conftest import crash_on, make_release, run, start

Fleet = Callable[[int], list[Instance]]


def states(rollout: Rollout) -> dict[str, int]:
    return dict(Counter(rollout.targets.values_list("state", flat=True)))


def test_it_brings_every_instance_to_the_release_once(fleet: Fleet, release: Release, boss: User) -> None:
    fleet(10)
    rollout = run(start(release, boss))
    assert rollout.state == RolloutState.SUCCEEDED, (rollout.why, states(rollout))
    assert [wave.size for wave in rollout.waves.all()] == [1, 3, 6]
    assert {wave.state for wave in rollout.waves.all()} == {WaveState.PASSED}
    assert set(Instance.objects.values_list("version", flat=True)) == {"2.0.0"}
    effects = Counter(SimulatedEffect.objects.filter(kind="apply").values_list("instance_id", flat=True))
    assert set(effects.values()) == {1}
    assert Operation.objects.filter(kind="deploy", actor=boss).count() == 10


def test_a_faulty_version_stops_at_the_canary_and_goes_back(
    fleet: Fleet, release: Release, boss: User
) -> None:
    instances = fleet(10)
    crash_on("2.0.0")
    rollout = run(start(release, boss, canary="2"))
    assert rollout.state == RolloutState.ROLLED_BACK
    assert "gate of wave 1 failed" in rollout.why
    assert states(rollout) == {TargetState.FAILED: 2, TargetState.WAITING: 8}
    touched = set(SimulatedEffect.objects.values_list("instance_id", flat=True))
    assert touched <= {target.instance_id for target in rollout.targets.filter(wave=1)}
    assert set(
        Instance.objects.filter(pk__in=[i.pk for i in instances]).values_list("version", flat=True)
    ) == {"1.0.0"}


def test_who_was_fine_in_a_failed_wave_goes_back_too(fleet: Fleet, release: Release, boss: User) -> None:
    instances = fleet(6)
    crash_on("2.0.0", instances[5:])
    rollout = run(start(release, boss))
    assert rollout.state == RolloutState.ROLLED_BACK
    assert rollout.targets.filter(state=TargetState.RETURNED).exists()
    assert set(Instance.objects.values_list("version", flat=True)) == {"1.0.0"}


def test_by_policy_it_only_aborts(fleet: Fleet, release: Release, boss: User) -> None:
    instances = fleet(6)
    crash_on("2.0.0", instances[5:])
    rollout = run(start(release, boss, on_fail="abort"))
    assert rollout.state == RolloutState.ABORTED
    assert rollout.targets.filter(state=TargetState.DONE).exists()
    assert rollout.finished_at


def test_what_failed_is_tried_again(fleet: Fleet, release: Release, boss: User) -> None:
    instances = fleet(4)
    crash_on("2.0.0", instances[3:])
    rollout = run(start(release, boss, on_fail="abort"))
    crash_on("")
    steer(rollout, "retry", actor=boss, reason="the fault was in the cell")
    assert run(rollout).state == RolloutState.SUCCEEDED
    assert set(Instance.objects.values_list("version", flat=True)) == {"2.0.0"}


def test_a_paused_rollout_starts_nothing(fleet: Fleet, release: Release, boss: User) -> None:
    fleet(5)
    rollout = start(release, boss)
    steer(rollout, "pause", actor=boss, reason="lunch")
    assert run(rollout).state == RolloutState.PAUSED
    assert not Operation.objects.exists()
    steer(rollout, "resume", actor=boss, reason="lunch is over")
    assert run(rollout).state == RolloutState.SUCCEEDED


def test_an_abort_cancels_what_has_not_begun(fleet: Fleet, release: Release, boss: User) -> None:
    fleet(5)
    rollout = start(release, boss, canary="5")
    driving.advance_all()
    assert Operation.objects.filter(state=State.PENDING).count() == 5
    steer(rollout, "abort", actor=boss, reason="wrong version")
    assert Operation.objects.filter(state=State.CANCELLED).count() == 5
    run(rollout)
    assert states(rollout) == {TargetState.WAITING: 5}


def test_a_finished_rollout_can_be_rolled_back(fleet: Fleet, release: Release, boss: User) -> None:
    fleet(4)
    rollout = run(start(release, boss))
    steer(rollout, "roll_back", actor=boss, reason="a customer complains")
    assert run(rollout).state == RolloutState.ROLLED_BACK
    assert states(rollout) == {TargetState.RETURNED: 4}
    assert set(Instance.objects.values_list("version", flat=True)) == {"1.0.0"}


def test_an_order_that_makes_no_sense_is_refused(fleet: Fleet, release: Release, boss: User) -> None:
    fleet(2)
    rollout = run(start(release, boss))
    for order in ("start", "pause", "resume", "abort", "retry", "pass_gate", "explode"):
        with pytest.raises(Refused):
            steer(rollout, order, actor=boss, reason="let us see")
    with pytest.raises(Refused, match="why"):
        steer(rollout, "roll_back", actor=boss, reason=" ")
    assert orders_of(rollout, rollout.waves.all()) == ["roll_back"]


def test_an_instance_can_be_skipped_and_taken_in_again(fleet: Fleet, release: Release, boss: User) -> None:
    fleet(5)
    rollout = start(release, boss)
    target = rollout.targets.get(wave=2, position=0)
    steer_target(target, "skip", actor=boss, reason="moves house")
    driving.advance_all()
    target.refresh_from_db()
    steer_target(target, "retry", actor=boss, reason="it has moved")
    assert run(rollout).state == RolloutState.SUCCEEDED
    assert states(rollout) == {TargetState.DONE: 5}


def test_a_locked_instance_makes_its_wave_wait(fleet: Fleet, release: Release, boss: User) -> None:
    instances = fleet(3)
    with as_system():
        Instance.objects.filter(pk=instances[2].pk).update(locked_reason="audit of the customer")
    rollout = run(start(release, boss, canary="3"))
    assert rollout.state == RolloutState.RUNNING
    target = rollout.targets.get(instance=instances[2])
    assert target.state == TargetState.WAITING
    assert "locked" in target.why
    assert rollout.waves.get().verdict == Verdict.WAIT
    steer_target(target, "skip", actor=boss, reason="it stays on the old one")
    assert run(rollout).state == RolloutState.SUCCEEDED


def test_a_withdrawn_version_is_prepared_by_nobody(fleet: Fleet, boss: User) -> None:
    fleet(2)
    withdrawn = make_release("3.0.0", life=Life.WITHDRAWN)
    with pytest.raises(Refused, match="withdrawn"):
        prepare_rollout(Rollout(release=withdrawn, reason="why not"), actor=boss)
    assert not Rollout.objects.exists()


def test_its_set_is_frozen_when_it_is_prepared(
    fleet: Fleet, release: Release, boss: User, cell: Cell
) -> None:
    fleet(3)
    rollout = start(release, boss)
    newcomer = make_instance("newcomer", cell=cell)
    run(rollout)
    newcomer.refresh_from_db()
    assert newcomer.version == "1.0.0"


def test_only_who_may_roll_out_to_all_of_it_steers_it(
    fleet: Fleet, release: Release, boss: User, cell: Cell
) -> None:
    fleet(2)
    make_instance("elsewhere", cell=make_cell("cell-2"))
    rollout = start(release, boss)
    olga, stefan = make_user("olga"), make_user("stefan")
    grant(olga, "operator", "cell", cell)
    grant(stefan, "operator", "account", make_cell().region.account)
    with pytest.raises(PermissionDenied):
        steer(rollout, "pause", actor=olga, reason="half of it is mine")
    with pytest.raises(Http404):
        steer(rollout, "pause", actor=stefan, reason="none of it is mine")


def test_it_takes_part_of_the_fleet_by_filter_and_by_scope(
    fleet: Fleet, release: Release, cell: Cell
) -> None:
    fleet(3)
    other = make_instance("elsewhere", cell=make_cell("cell-2"))
    olga = make_user("olga")
    grant(olga, "operator", "cell", cell)
    rollout = run(start(release, olga))
    assert rollout.state == RolloutState.SUCCEEDED, rollout.why
    other.refresh_from_db()
    assert other.version == "1.0.0"


def test_a_step_done_twice_changes_nothing(fleet: Fleet, release: Release, boss: User) -> None:
    """A worker that died right after the engine accepted, before the targets said so."""
    fleet(4)
    rollout = start(release, boss, canary="4")
    driving.advance_all()
    rollout.targets.update(state=TargetState.WAITING, operation_id=None)
    runner.run_due()
    assert run(rollout).state == RolloutState.SUCCEEDED
    assert Operation.objects.count() == 4
    assert SimulatedEffect.objects.filter(kind="apply").count() == 4


def test_a_rollout_that_somebody_drives_is_left_alone(fleet: Fleet, release: Release, boss: User) -> None:
    fleet(1)
    rollout = start(release, boss)
    lease = driving._claim(rollout.pk)
    assert lease is not None
    assert driving.advance(rollout.pk) is False
    assert not Operation.objects.exists()
