"""One wave back while the others stay; another version for a rollout that stands still."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.access.models import User
from apps.core.models import Event
from apps.fleet.models import Cell, Instance, SimulatedEffect
from apps.operations.choices import State
from apps.operations.models import Operation
from apps.operations.services import Refused
from apps.releases import driving
from apps.releases.choices import Life, RolloutState, TargetState, WaveState
from apps.releases.models import Release, Rollout
from apps.releases.returning import retarget, roll_back_wave
from apps.releases.rollouts import prepare_rollout, steer
from apps.releases.rules import set_hold
from apps.tenants.models import Tenant
from tests.factories import as_system, grant, make_cell, make_user
from tests.releases.conftest import crash_on, make_release, run, start

Fleet = Callable[[int], list[Instance]]


@pytest.fixture(autouse=True)
def before(db: None) -> Release:
    """What runs is known, so that one can go back to it when nobody runs it any more."""
    return make_release("1.0.0")


def versions() -> dict[str, int]:
    return dict(Counter(Instance.objects.values_list("version", flat=True)))


def waves(rollout: Rollout) -> list[str]:
    return list(rollout.waves.order_by("number").values_list("state", flat=True))


def watch_no_longer(rollout: Rollout) -> None:
    with as_system():
        Rollout.objects.filter(pk=rollout.pk).update(bake_seconds=0)


def back(rollout: Rollout, number: int, boss: User) -> None:
    roll_back_wave(rollout, number, actor=boss, reason="they complain")


def test_one_wave_of_a_finished_rollout_goes_back_and_the_others_stay(
    fleet: Fleet, release: Release, boss: User
) -> None:
    fleet(10)
    rollout = run(start(release, boss))
    back(rollout, 2, boss)
    assert driving.driven() == [rollout.pk]
    run(rollout)
    assert rollout.state == RolloutState.SUCCEEDED
    assert "Wave 2 goes back" in rollout.why
    assert waves(rollout) == [WaveState.PASSED, WaveState.RETURNED, WaveState.PASSED]
    assert versions() == {"2.0.0": 7, "1.0.0": 3}
    assert {t.state for t in rollout.targets.filter(wave=2)} == {TargetState.RETURNED}
    assert driving.driven() == []
    effects = Counter(SimulatedEffect.objects.filter(kind="apply").values_list("instance_id", flat=True))
    assert sorted(effects.values()) == [1] * 7 + [2] * 3, "each went there once and came back once"
    with pytest.raises(Refused, match="touched nothing, or goes back"):
        back(rollout, 2, boss)
    kinds = set(Event.objects.filter(kind__startswith="rollout.wave").values_list("kind", flat=True))
    assert kinds == {"rollout.wave_rolling_back", "rollout.wave_rolled_back"}


def test_in_a_running_rollout_it_pauses_and_what_comes_goes_on_when_resumed(
    fleet: Fleet, release: Release, boss: User
) -> None:
    fleet(10)
    rollout = run(start(release, boss, bake_seconds=3_600))
    steer(rollout, "pass_gate", actor=boss, reason="the canary is fine")
    run(rollout)
    assert waves(rollout) == [WaveState.PASSED, WaveState.BAKING, WaveState.PLANNED]
    back(rollout, 2, boss)
    run(rollout)
    assert rollout.state == RolloutState.PAUSED
    assert waves(rollout)[:2] == [WaveState.PASSED, WaveState.RETURNED]
    watch_no_longer(rollout)
    steer(rollout, "resume", actor=boss, reason="the rest is fine")
    run(rollout)
    assert rollout.state == RolloutState.SUCCEEDED, rollout.why
    assert versions() == {"2.0.0": 7, "1.0.0": 3}


def test_what_has_not_begun_in_it_is_cancelled_and_left_out(
    fleet: Fleet, release: Release, boss: User
) -> None:
    fleet(4)
    rollout = start(release, boss, canary="4", growth=1)
    driving.advance_all()
    assert Operation.objects.filter(state=State.PENDING).count() == 4
    back(rollout, 1, boss)
    run(rollout)
    assert versions() == {"1.0.0": 4}
    assert waves(rollout) == [WaveState.RETURNED]
    assert set(rollout.targets.values_list("state", flat=True)) == {TargetState.SKIPPED}


def test_in_an_aborted_rollout_too(fleet: Fleet, release: Release, boss: User) -> None:
    instances = fleet(6)
    crash_on("2.0.0", instances[5:])
    rollout = run(start(release, boss, on_fail="abort"))
    assert rollout.state == RolloutState.ABORTED
    failed = rollout.waves.get(state=WaveState.FAILED)
    back(rollout, failed.number, boss)
    run(rollout)
    assert rollout.state == RolloutState.ABORTED
    assert not rollout.targets.filter(wave=failed.number, state=TargetState.DONE).exists()
    assert rollout.targets.filter(wave=1, state=TargetState.DONE).exists()


def test_all_of_it_can_go_back_after_one_wave_has(fleet: Fleet, release: Release, boss: User) -> None:
    fleet(10)
    rollout = run(start(release, boss))
    back(rollout, 2, boss)
    run(rollout)
    steer(rollout, "roll_back", actor=boss, reason="all of it")
    assert run(rollout).state == RolloutState.ROLLED_BACK
    assert versions() == {"1.0.0": 10}
    with pytest.raises(Refused, match="no single wave"):
        back(rollout, 1, boss)


def test_a_wave_to_come_and_a_stranger_are_refused(fleet: Fleet, release: Release, boss: User) -> None:
    fleet(4)
    rollout = start(release, boss)
    with pytest.raises(Refused, match="touched nothing"):
        back(rollout, 2, boss)
    with pytest.raises(Refused, match="why"):
        roll_back_wave(rollout, 1, actor=boss, reason="")
    olga = make_user("olga")
    grant(olga, "operator", "cell", make_cell())
    with pytest.raises(Http404):
        back(rollout, 1, olga)
    vera = make_user("vera")
    grant(vera, "viewer")
    with pytest.raises(PermissionDenied):
        back(rollout, 1, vera)


def test_a_paused_rollout_takes_another_version_and_rolls_back_to_what_was_before(
    fleet: Fleet, release: Release, boss: User
) -> None:
    fleet(4)
    rollout = run(start(release, boss, bake_seconds=3_600))
    better = make_release("2.0.1")
    with pytest.raises(Refused, match="pause or abort"):
        retarget(rollout, better, actor=boss, reason="2.0.0 is slow")
    steer(rollout, "pause", actor=boss, reason="wait")
    run(rollout)
    retarget(rollout, better, actor=boss, reason="2.0.0 is slow")
    watch_no_longer(rollout)
    steer(rollout, "resume", actor=boss, reason="go on")
    assert run(rollout).state == RolloutState.SUCCEEDED, rollout.why
    assert versions() == {"2.0.1": 4}
    steer(rollout, "roll_back", actor=boss, reason="that one too")
    assert run(rollout).state == RolloutState.ROLLED_BACK
    assert versions() == {"1.0.0": 4}


def test_a_version_that_is_not_out_or_the_same_is_refused(fleet: Fleet, release: Release, boss: User) -> None:
    fleet(2)
    rollout = start(release, boss)
    steer(rollout, "pause", actor=boss, reason="wait")
    run(rollout)
    with pytest.raises(Refused, match="already"):
        retarget(rollout, release, actor=boss, reason="the same")
    with pytest.raises(Refused, match="cannot be deployed"):
        retarget(rollout, make_release("9", life=Life.DRAFT), actor=boss, reason="not out")


def test_who_was_held_is_asked_about_anew_by_another_version(
    fleet: Fleet, release: Release, boss: User
) -> None:
    fleet(2)
    until = timezone.now() + timedelta(hours=1)
    set_hold(Tenant.objects.get(key="t-000"), until=until, reason="only this", actor=boss, version="2.0.1")
    rollout = start(release, boss, canary="2")
    driving.advance_all()
    assert rollout.targets.filter(state=TargetState.HELD).count() == 1
    steer(rollout, "abort", actor=boss, reason="wrong one")
    run(rollout)
    retarget(rollout, make_release("2.0.1"), actor=boss, reason="the right one")
    steer(rollout, "retry", actor=boss, reason="go on")
    run(rollout)
    assert versions() == {"2.0.1": 2}


def test_pages_offer_both_and_a_wave_alone_is_asked_about(
    fleet: Fleet, release: Release, boss: User, client: Client, cell: Cell
) -> None:
    fleet(4)
    rollout = run(start(release, boss))
    client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
    page = reverse("releases:rollout", args=[rollout.pk])
    assert "Roll this wave back" in client.get(page).content.decode()
    url = reverse("releases:roll_back_wave", args=[rollout.pk, 2])
    assert client.post(url, {}).status_code == 422
    assert client.post(url, {"reason": "they complain"}).status_code == 302
    assert 'data-live="1"' in client.get(page).content.decode()
    draft = Rollout(release=make_release("2.0.1"), reason="as planned")

    prepare_rollout(draft, actor=boss)
    assert "Change the version" in client.get(reverse("releases:rollout", args=[draft.pk])).content.decode()
    url = reverse("releases:retarget", args=[draft.pk])
    better = make_release("2.0.2")
    assert client.post(url, {"release": better.pk, "reason": "newer"}).status_code == 302
    draft.refresh_from_db()
    assert draft.release == better
