"""What cannot be seen for a moment, and looks by a machine whose clock is ahead."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.fleet import probing
from apps.fleet.choices import Health
from apps.fleet.models import SimulatedEffect, SimulatedInstance
from apps.fleet.observing import look_begins, record_observations
from apps.fleet.providers.base import Observation
from apps.fleet.providers.simulated import SimulatedProvider
from apps.operations import engine, runner, services
from apps.operations.choices import State
from apps.operations.models import Operation
from tests.fleet.conftest import World


def test_a_worker_that_is_ahead_does_not_blind_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = timezone.now
    SimulatedInstance.objects.filter(pk=world.one.pk).update(generation=2)
    with monkeypatch.context() as patched:
        patched.setattr(timezone, "now", lambda: real() + timedelta(minutes=10))
        assert probing.probe_simulated() == 1
    SimulatedInstance.objects.filter(pk=world.one.pk).update(state="stopped")
    assert probing.probe_simulated() == 1
    world.one.refresh_from_db()
    assert world.one.health == Health.FAILING


def test_what_is_not_seen_for_a_moment_is_restarted_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = services.submit(
        kind="restart", target_id=world.one.pk, actor=world.operator, reason="it hangs"
    )
    with monkeypatch.context() as patched:
        lost = Observation("missing", False, "", 0, "too many open files")
        patched.setattr(
            SimulatedProvider, "observe_many", lambda self, targets: {t.instance_id: lost for t in targets}
        )
        runner._round(engine.claim(owner="a", limit=1))
    Operation.objects.filter(state=State.PENDING).unrecorded_update(run_after=operation.created_at)
    Operation.objects.filter(state=State.RUNNING).unrecorded_update(lease_until=operation.created_at)
    runner.run_due()
    operation.refresh_from_db()
    assert operation.state == State.SUCCEEDED
    assert list(SimulatedEffect.objects.values_list("kind", flat=True)) == ["restart"]


def test_one_that_crashes_as_it_starts_is_not_waited_for(world: World) -> None:
    SimulatedInstance.objects.filter(pk=world.one.pk).update(crash_on_version="1.0.0", version="1.0.0")
    operation = services.submit(
        kind="restart", target_id=world.one.pk, actor=world.operator, reason="it hangs"
    )
    runner.run_due()
    operation.refresh_from_db()
    assert operation.state == State.FAILED
    assert "was started, and does not run" in operation.error
    assert operation.finished_at and operation.started_at
    assert (operation.finished_at - operation.started_at).total_seconds() < 10
    assert list(SimulatedEffect.objects.values_list("kind", flat=True)) == ["restart"]


def test_one_that_cannot_be_asked_about_is_unknown_and_what_was_known_stands(world: World) -> None:
    known = (world.one.version, world.one.generation)
    lost = Observation("unknown", False, "", 0, "no answer within 2 s")
    record_observations({world.one.pk: lost}, since=look_begins())
    world.one.refresh_from_db()
    assert (world.one.health, world.one.health_detail) == (Health.UNKNOWN, "no answer within 2 s")
    assert (world.one.version, world.one.generation) == known


def test_a_version_tried_on_one_that_was_stopped_leaves_it_stopped(world: World) -> None:
    def run(kind: str, **params: str) -> Operation:
        operation = services.submit(
            kind=kind, target_id=world.one.pk, params=params, actor=world.operator, reason="a try"
        )
        runner.run_due()
        operation.refresh_from_db()
        return operation

    run("stop")
    SimulatedInstance.objects.filter(pk=world.one.pk).update(crash_on_version="1.1.0")
    assert run("deploy", version="1.1.0").state == State.FAILED
    world.one.refresh_from_db()
    assert (world.one.wanted, world.one.health) == ("stopped", Health.STOPPED)
    assert SimulatedInstance.objects.get(pk=world.one.pk).state == "stopped"
