"""A worker that was stopped for longer than its lease, and one process's loops that follow each other."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.access.models import User
from apps.fleet.models import Instance, SimulatedEffect
from apps.operations import engine, runner, services
from apps.operations.models import Operation


def test_a_worker_that_slept_through_its_lease_acts_on_nothing(
    instance: Instance, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.submit(kind="stop", target_id=instance.pk, actor=operator, reason="it hangs")
    sleeper = engine.claim(owner="sleeper", limit=1)
    Operation.objects.filter(pk=sleeper[0].id).unrecorded_update(
        lease_until=timezone.now() - timedelta(seconds=1)
    )
    runner.run_due()  # another one stops it, and somebody starts it again
    services.submit(kind="start", target_id=instance.pk, actor=operator, reason="all is well again")
    runner.run_due()
    sleeper[0].sure_at -= 60  # awake
    answers = iter([sleeper, []])
    monkeypatch.setattr(engine, "claim", lambda **_: next(answers))
    runner.run_due()
    instance.refresh_from_db()
    assert instance.wanted == "running"
    assert list(SimulatedEffect.objects.order_by("id").values_list("kind", flat=True)) == ["stop", "start"]


def test_what_one_loop_lost_another_keeps(instance: Instance, operator: User) -> None:
    services.submit(kind="stop", target_id=instance.pk, actor=operator, reason="it hangs")
    works = engine.claim(owner="a", limit=1)
    keeper = runner.LeaseKeeper()
    with keeper.keeping() as second:
        with keeper.keeping() as first:
            first.replace(works)
            Operation.objects.unrecorded_update(lease_until=timezone.now() - timedelta(seconds=1))
            again = engine.claim(owner="b", limit=1)
            second.replace(again)
        assert list(keeper._held) in ([(again[0].id, again[0].fence)], [again[0].id])
