"""Rollouts that meet: over the same instances, and one that cannot be driven beside those that can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from apps.access.models import User
from apps.fleet.models import Cell, Instance
from apps.operations.models import Operation
from apps.operations.services import Refused
from apps.releases import driving
from apps.releases.choices import RolloutState, TargetState
from apps.releases.models import Release, Rollout
from apps.releases.rollouts import prepare_rollout, steer, steer_target
from apps.releases.scheduling import newcomers
from tests.factories import as_system, make_cell, make_instance, place
from tests.releases.conftest import make_release, run, start

Fleet = Callable[[int], list[Instance]]
WHY = "as the test wants it"


def prepared(release: Release, boss: User, **options: Any) -> Rollout:
    rollout = Rollout(release=release, reason=WHY, bake_seconds=0, canary="1", **options)
    prepare_rollout(rollout, actor=boss)
    return rollout


# --- Over the same instances -----------------------------------------------------------------------


def test_of_two_prepared_over_the_same_instances_one_starts(
    fleet: Fleet, release: Release, boss: User
) -> None:
    fleet(3)
    first, second = prepared(release, boss), prepared(make_release("3.0.0"), boss)
    steer(first, "start", actor=boss, reason=WHY)
    with pytest.raises(Refused, match=rf"3 of its instances are in rollout #{first.pk}"):
        steer(second, "start", actor=boss, reason=WHY)
    second.refresh_from_db()
    assert second.state == RolloutState.DRAFT
    assert run(first).state == RolloutState.SUCCEEDED
    steer(second, "start", actor=boss, reason=WHY)
    assert run(second).state == RolloutState.SUCCEEDED
    assert set(Instance.objects.values_list("version", flat=True)) == {"3.0.0"}


def test_those_that_share_no_instance_start_beside_each_other(
    fleet: Fleet, release: Release, boss: User
) -> None:
    fleet(2)
    make_instance("there", cell=make_cell("cell-2"))
    first, second = prepared(release, boss, query="cell=cell-1"), prepared(release, boss, query="cell=cell-2")
    for rollout in (first, second):
        steer(rollout, "start", actor=boss, reason=WHY)


def test_one_goes_neither_back_nor_on_while_another_changes_its_instances(
    fleet: Fleet, release: Release, boss: User
) -> None:
    fleet(2)
    first = run(start(release, boss))
    second = start(make_release("3.0.0"), boss)
    driving.advance_all()
    with pytest.raises(Refused, match=rf"in rollout #{second.pk}"):
        steer(first, "roll_back", actor=boss, reason=WHY)
    first.refresh_from_db()
    assert first.state == RolloutState.SUCCEEDED
    steer(second, "abort", actor=boss, reason=WHY)
    run(second)
    steer(first, "roll_back", actor=boss, reason=WHY)
    with pytest.raises(Refused, match=rf"in rollout #{first.pk}"):
        steer(second, "retry", actor=boss, reason=WHY)


def test_what_another_rollout_changes_is_no_newcomer(
    fleet: Fleet, release: Release, boss: User, cell: Cell
) -> None:
    fleet(2)
    rollout = start(release, boss)
    late = make_instance("late", cell=cell)
    assert list(newcomers(rollout, boss)) == [late]
    start(make_release("3.0.0"), boss, query="q=late")
    assert list(newcomers(rollout, boss)) == []


# --- One that cannot be driven ---------------------------------------------------------------------


@pytest.mark.parametrize("by", ["tick", "ending"])
def test_one_that_cannot_be_driven_stops_no_other(
    fleet: Fleet, release: Release, boss: User, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    fleet(1)
    make_instance("there", cell=make_cell("cell-2"))
    broken = start(release, boss, query="cell=cell-1")
    good = start(release, boss, query="cell=cell-2")
    whole = driving.fill

    def breaks(rollout: Rollout, *args: Any, **kwargs: Any) -> bool:
        if rollout.pk == broken.pk:
            raise RuntimeError("its filter cannot be read")
        return whole(rollout, *args, **kwargs)

    monkeypatch.setattr(driving, "fill", breaks)
    if by == "tick":
        driving.advance_all()
    else:
        driving.go_on(["deploy"])
    assert good.targets.get().state == TargetState.CHANGING
    broken.refresh_from_db()
    assert "its filter cannot be read" in broken.note
    assert broken.claimed_until is None
    monkeypatch.setattr(driving, "fill", whole)
    assert run(broken).state == RolloutState.SUCCEEDED
    assert broken.note == ""


# --- Orders that meet a driver's step ----------------------------------------------------------------


def test_what_was_cancelled_by_an_abort_waits_however_late_its_driver_hears_of_it(
    fleet: Fleet, release: Release, boss: User
) -> None:
    """The driver read the rollout while it ran; abort and cancel come before its next statement."""
    fleet(4)
    rollout = start(release, boss, canary="4")
    driving.advance_all()
    seen = Rollout.objects.select_related("release", "started_by").get(pk=rollout.pk)
    steer(rollout, "abort", actor=boss, reason=WHY)
    assert Operation.objects.filter(state="cancelled").count() == 4
    driving.follow(seen)
    assert set(rollout.targets.values_list("state", flat=True)) == {TargetState.WAITING}
    steer(rollout, "retry", actor=boss, reason=WHY)
    assert run(rollout).state == RolloutState.SUCCEEDED
    assert rollout.targets.filter(state=TargetState.DONE).count() == 4, "none is skipped"


def test_a_gate_that_fails_as_somebody_pauses_cancels_nothing(
    fleet: Fleet, release: Release, boss: User
) -> None:
    fleet(4)
    rollout = start(release, boss, canary="4", concurrency=2)
    driving.advance_all()
    seen = Rollout.objects.select_related("release", "started_by").get(pk=rollout.pk)
    wave = rollout.waves.get()
    with as_system():  # the order's first half; what it cancels comes after
        Rollout.objects.filter(pk=rollout.pk).update(state=RolloutState.PAUSED)
    driving._fail(seen, wave, [["fail", "Could not be changed: i-000."]])
    assert not Operation.objects.filter(state="cancelled").exists()


# --- Instances that are tried again ------------------------------------------------------------------


def test_one_that_is_tried_again_keeps_its_turn(fleet: Fleet, release: Release, boss: User) -> None:
    fleet(4)
    rollout = prepared(release, boss, growth=1)
    last = rollout.targets.get(wave=4)
    steer_target(last, "skip", actor=boss, reason=WHY)
    steer(rollout, "start", actor=boss, reason=WHY)
    driving.advance_all()
    last.refresh_from_db()
    steer_target(last, "retry", actor=boss, reason=WHY)
    last.refresh_from_db()
    assert last.wave == 4, "its ring has not come yet"
    assert run(rollout).state == RolloutState.SUCCEEDED
    assert rollout.targets.filter(state=TargetState.DONE).count() == 4


def test_of_a_failover_pair_no_half_joins_the_wave_of_the_other(
    fleet: Fleet, release: Release, boss: User
) -> None:
    instances = fleet(1)
    tenant = instances[0].placements.get().tenant
    standby = make_instance("standby", cell=make_cell("cell-2"))
    place(tenant, standby)
    rollout = prepared(release, boss, growth=1)
    first = rollout.targets.get(wave=1)
    steer_target(first, "skip", actor=boss, reason=WHY)
    with as_system():
        Rollout.objects.filter(pk=rollout.pk).update(bake_seconds=3_600)
    steer(rollout, "start", actor=boss, reason=WHY)
    run(rollout)
    steer(rollout, "pass_gate", actor=boss, reason=WHY)
    driving.advance_all()
    assert [wave.state for wave in rollout.waves.all()] == ["passed", "running"]
    first.refresh_from_db()
    with pytest.raises(Refused, match="the other half of a failover pair"):
        steer_target(first, "retry", actor=boss, reason=WHY)
    first.refresh_from_db()
    assert (first.wave, first.state) == (1, TargetState.SKIPPED)
