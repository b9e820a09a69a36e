"""A worker that was stopped for longer than its lease, and one process's loops that follow each other."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.access.models import User
from apps.fleet.models import Instance, SimulatedEffect
from apps.operations import engine, runner, services
from apps.operations.choices import State
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


def test_a_loop_that_is_broken_off_gives_back_what_it_holds(
    instance: Instance, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = services.submit(kind="stop", target_id=instance.pk, actor=operator, reason="it hangs")

    def broken(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(runner, "_round", broken)
        runner.run_due()
    runner.run_due()
    operation.refresh_from_db()
    assert (operation.state, operation.lost) == (State.SUCCEEDED, 1)


def test_a_call_that_hangs_loses_its_lease(instance: Instance, operator: User) -> None:
    services.submit(kind="stop", target_id=instance.pk, actor=operator, reason="it hangs")
    works = engine.claim(owner="a", limit=1)
    assert runner._longest(works) == runner.HUNG + 30  # the time limit of its first step
    keeper = runner.LeaseKeeper()
    with keeper.keeping() as mine:
        mine.replace(works, seconds=-1)
        assert keeper.due() == []
        mine.replace(works)
        assert keeper.due() == [(works[0].id, works[0].fence)]


def test_a_batch_that_hangs_leaves_room_for_who_asks_for_one_thing(
    instances: Callable[[int], list[Instance]], operator: User
) -> None:
    many = instances(11)
    services.submit_many(
        kind="stop",
        target_ids=[i.pk for i in many[:10]],
        params={},
        actor=operator,
        reason="the cell is drained",
    )
    single = services.submit(kind="restart", target_id=many[10].pk, actor=operator, reason="a customer waits")
    held = runner._claimed([], owner="a", limit=10)
    assert len(held) == 9  # eight of the batch, and the one
    assert single.pk in {work.id for work in held}
    assert runner._claimed(held, owner="a", limit=10) == []
