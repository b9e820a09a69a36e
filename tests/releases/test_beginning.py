"""What was asked for and has not begun: it begins only while its rollout, holds, freezes and windows still let it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.access.models import User
from apps.fleet.models import Cell, Instance, SimulatedEffect
from apps.operations import runner
from apps.operations.models import ApprovalRule, Operation
from apps.operations.services import approve, cancel
from apps.releases import driving
from apps.releases.choices import RolloutState, TargetState
from apps.releases.models import Freeze, Hold, Release, Rollout, Window
from apps.releases.rollouts import steer
from apps.releases.rules import add_freeze, add_window, set_hold
from apps.tenants.models import Tenant
from tests.factories import as_system
from tests.releases.conftest import make_release, run, start

Fleet = Callable[[int], list[Instance]]
WHY = "as the test wants it"


def asked_for(release: Release, boss: User) -> Rollout:
    """A rollout whose operations are accepted, and of which none has begun."""
    rollout = start(release, boss, canary="3")
    driving.advance_all()
    assert Operation.objects.filter(state="pending").count() == 3
    return rollout


def states(rollout: Rollout) -> set[str]:
    return set(rollout.targets.values_list("state", flat=True))


def test_nothing_begins_in_a_paused_rollout_and_all_of_it_when_it_goes_on(
    fleet: Fleet, release: Release, boss: User
) -> None:
    fleet(3)
    rollout = asked_for(release, boss)
    steer(rollout, "pause", actor=boss, reason=WHY)
    assert run(rollout).state == RolloutState.PAUSED
    assert not SimulatedEffect.objects.exists()
    assert states(rollout) == {TargetState.WAITING}
    steer(rollout, "resume", actor=boss, reason=WHY)
    assert run(rollout).state == RolloutState.SUCCEEDED
    assert rollout.targets.filter(state=TargetState.DONE).count() == 3


def test_what_a_person_cancels_in_a_paused_rollout_is_skipped_as_ever(
    fleet: Fleet, release: Release, boss: User
) -> None:
    fleet(3)
    rollout = asked_for(release, boss)
    cancel(Operation.objects.order_by("pk")[0], actor=boss, reason="not this one")
    assert run(rollout).state == RolloutState.SUCCEEDED
    assert rollout.targets.filter(state=TargetState.SKIPPED).count() == 1


def forbid(what: str, boss: User, cell: Cell) -> Callable[[], object]:
    """Set a rule that stands in the way now; gives how to end it."""
    now = timezone.now()
    tenant = Tenant.objects.get(key="t-000")
    if what == "freeze":
        ends = {"starts_at": now - timedelta(minutes=1), "ends_at": now + timedelta(hours=1), "reason": WHY}
        add_freeze(Freeze(name="f", account=cell.region.account, **ends), actor=boss)
        return lambda: Freeze.objects.all().delete()
    if what == "window":
        day = (now + timedelta(days=2)).weekday()
        add_window(Window(tenant=tenant, days=[day], opens_at="12:00", minutes=15), actor=boss)
        return lambda: Window.objects.all().delete()
    set_hold(
        tenant,
        until=now + timedelta(days=1),
        reason=WHY,
        actor=boss,
        version="1.0.0" if what == "pin" else "",
    )
    return lambda: Hold.objects.all().delete()


@pytest.mark.parametrize("what", ["freeze", "window", "hold", "pin"])
def test_a_rule_that_came_since_holds_what_has_not_begun(
    fleet: Fleet, release: Release, boss: User, cell: Cell, what: str
) -> None:
    instances = fleet(3)
    rollout = asked_for(release, boss)
    end = forbid(what, boss, cell)
    run(rollout)
    changed = set(SimulatedEffect.objects.values_list("instance__name", flat=True))
    assert changed == (set() if what == "freeze" else {"i-001", "i-002"})
    rollout.targets.update(changed_at=timezone.now() - timedelta(minutes=1))
    run(rollout)
    first = rollout.targets.get(instance=instances[0])
    assert first.state == (TargetState.HELD if what in ("hold", "pin") else TargetState.WAITING)
    if what in ("freeze", "window"):
        with as_system():
            end()
        rollout.targets.update(changed_at=timezone.now() - timedelta(minutes=1))
        assert run(rollout).state == RolloutState.SUCCEEDED
        assert rollout.targets.filter(state=TargetState.DONE).count() == 3


def test_so_it_is_for_what_is_approved_late(
    fleet: Fleet, release: Release, boss: User, second: User, cell: Cell
) -> None:
    fleet(1)
    with as_system():
        ApprovalRule.objects.create(kind="deploy", note="two people")
    rollout = start(release, boss, canary="1")
    driving.advance_all()
    operation = Operation.objects.get(state="awaiting_approval")
    forbid("freeze", boss, cell)
    approve(operation, actor=second)
    runner.run_due()
    operation.refresh_from_db()
    assert operation.state == "failed"
    assert "Freeze “f”" in operation.error
    assert run(rollout).state == RolloutState.RUNNING
    assert not SimulatedEffect.objects.exists()


def test_a_security_release_and_a_way_back_begin_all_the_same(
    fleet: Fleet, release: Release, boss: User, cell: Cell
) -> None:
    fleet(3)
    make_release("1.0.0")
    rollout = asked_for(make_release("2.0.1", kind="security"), boss)
    forbid("freeze", boss, cell)
    assert run(rollout).state == RolloutState.SUCCEEDED
    steer(rollout, "roll_back", actor=boss, reason=WHY)
    forbid("window", boss, cell)
    assert run(rollout).state == RolloutState.ROLLED_BACK


# --- A canary that shows nothing -------------------------------------------------------------------


def test_a_canary_of_which_nothing_was_changed_lets_no_larger_wave_begin(
    fleet: Fleet, release: Release, boss: User
) -> None:
    instances = fleet(6)
    rollout = start(release, boss, canary="1", growth=5)
    set_hold(
        Tenant.objects.get(placements__instance=rollout.targets.get(wave=1).instance),
        until=timezone.now() + timedelta(days=1), reason=WHY, actor=boss,
    )  # fmt: skip
    assert run(rollout).state == RolloutState.RUNNING
    assert not SimulatedEffect.objects.exists()
    wave = rollout.waves.get(number=1)
    assert "nothing of it was changed" in str(wave.reasons).lower()
    steer(rollout, "pass_gate", actor=boss, reason="all five are fine with it")
    assert run(rollout).state == RolloutState.SUCCEEDED
    assert SimulatedEffect.objects.count() == len(instances) - 1


def test_after_waves_that_showed_something_one_that_is_held_whole_passes(
    fleet: Fleet, release: Release, boss: User
) -> None:
    fleet(3)
    rollout = start(release, boss, canary="1", growth=1)
    set_hold(
        Tenant.objects.get(placements__instance=rollout.targets.get(wave=2).instance),
        until=timezone.now() + timedelta(days=1), reason=WHY, actor=boss,
    )  # fmt: skip
    assert run(rollout).state == RolloutState.SUCCEEDED
