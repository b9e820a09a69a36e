"""Looks that cross: the older one writes nothing over the newer one, and what cannot be seen is not restarted."""

import pytest

from apps.core.models import Event
from apps.fleet.choices import Health
from apps.fleet.models import SimulatedEffect
from apps.fleet.observing import look_begins, record_observations
from apps.fleet.providers.base import Observation
from apps.fleet.providers.simulated import SimulatedProvider
from apps.operations import engine, runner, services
from apps.operations.choices import State
from apps.operations.models import Operation
from tests.fleet.conftest import World


def test_a_look_that_began_before_another_was_written_is_dropped(world: World) -> None:
    began = look_begins()  # the probe sets out, and sees the instance down in the middle of its restart
    record_observations({world.one.pk: Observation("running", True, "1.0.0", 2)}, since=look_begins())
    told = Event.objects.count()
    assert record_observations({world.one.pk: Observation("stopped", False, "1.0.0", 1)}, since=began) == 0
    world.one.refresh_from_db()
    assert (world.one.health, world.one.generation) == (Health.WELL, 2)
    assert Event.objects.count() == told


def test_the_next_look_is_kept(world: World) -> None:
    record_observations({world.one.pk: Observation("running", True, "1.0.0", 2)}, since=look_begins())
    assert (
        record_observations({world.one.pk: Observation("stopped", False, "1.0.0", 2)}, since=look_begins())
        == 1
    )


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
