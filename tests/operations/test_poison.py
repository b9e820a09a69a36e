"""One operation that no worker can bear, and what becomes of the others beside it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from apps.access.models import User
from apps.fleet.models import Diagnostics, Instance, SimulatedInstance
from apps.fleet.observing import look_begins, record_observations
from apps.fleet.providers.base import LogLine, LogPage, Observation
from apps.fleet.providers.simulated import SimulatedProvider
from apps.operations import engine, kinds, queries, runner, services, upkeep
from apps.operations.choices import State
from apps.operations.kinds import Done, Outcome, Work, find_kind
from apps.operations.models import Operation
from tests.factories import grant, make_user


def submit(instance: Instance, actor: User, kind: str = "restart") -> Operation:
    return services.submit(kind=kind, target_id=instance.pk, actor=actor, reason="it hangs")


def state_of(operation: Operation) -> str:
    operation.refresh_from_db()
    return operation.state


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch, instance: Instance, operator: User) -> Operation:
    """An operation of a kind that another release knows."""
    monkeypatch.setitem(kinds._kinds, "shrink", replace(find_kind("restart"), name="shrink"))
    operation = submit(instance, operator, "shrink")
    monkeypatch.delitem(kinds._kinds, "shrink")
    return operation


class TestOfAKindThatThisReleaseDoesNotKnow:
    def test_it_is_left_alone_and_stops_nobody_else(
        self, unknown: Operation, operator: User, instances: Callable[[int], list[Instance]]
    ) -> None:
        other = submit(instances(1)[0], operator)
        assert runner.run_due() == 1
        assert (state_of(other), state_of(unknown)) == (State.SUCCEEDED, State.PENDING)

    def test_nobody_is_nudged_for_it(self, unknown: Operation) -> None:
        assert not upkeep.reconcile()

    def test_who_asked_for_it_can_cancel_it(self, unknown: Operation, operator: User) -> None:
        services.cancel(unknown, actor=operator, reason="the release was taken back")
        assert state_of(unknown) == State.CANCELLED

    def test_its_page_answers_another_reader(self, unknown: Operation) -> None:
        viewer = make_user()
        grant(viewer, "viewer")
        assert not queries.operation_page(viewer, unknown.pk).may_cancel


def test_a_step_that_this_release_does_not_have_fails_alone(
    operator: User, instances: Callable[[int], list[Instance]]
) -> None:
    one, other = (submit(instance, operator) for instance in instances(2))
    Operation.objects.filter(pk=one.pk).unrecorded_update(step=7)
    runner.run_due()
    assert (state_of(one), state_of(other)) == (State.FAILED, State.SUCCEEDED)
    assert "step 8" in one.error


def test_an_answer_that_cannot_be_written_fails_alone(
    monkeypatch: pytest.MonkeyPatch, operator: User, instances: Callable[[int], list[Instance]]
) -> None:
    one, other = (submit(instance, operator) for instance in instances(2))
    restart = find_kind("restart")

    def run(works: Sequence[Work]) -> Mapping[int, Outcome]:
        return {w.id: Done("", {"said": "\x00"} if w.id == one.pk else {}) for w in works}

    first = replace(restart.steps[0], run=run)
    monkeypatch.setitem(kinds._kinds, "restart", replace(restart, steps=(first,)))
    runner.run_due()
    assert (state_of(one), state_of(other)) == (State.FAILED, State.SUCCEEDED)
    assert "could not be written" in one.error


def test_what_an_instance_says_may_hold_anything(instance: Instance) -> None:
    seen = Observation("stopped", False, "1", 1, detail="segfault \x00\ud800 at 0")
    record_observations({instance.pk: seen}, looked_at=look_begins())
    instance.refresh_from_db()
    assert instance.health_detail.startswith("down: segfault")


def test_so_may_its_log(monkeypatch: pytest.MonkeyPatch, instance: Instance, operator: User) -> None:
    line = LogLine(instance.created_at, "info", "half a \x00\ud800 line")
    monkeypatch.setattr(SimulatedProvider, "logs", lambda *_, **__: LogPage([line], "1"))
    operation = submit(instance, operator, "diagnose")
    runner.run_due()
    assert state_of(operation) == State.SUCCEEDED, operation.error
    assert "line" in Diagnostics.objects.get().parts["logs"]


def test_one_that_killed_its_workers_past_a_change_still_goes_back(
    operator: User, instances: Callable[[int], list[Instance]]
) -> None:
    one, other = instances(2)
    SimulatedInstance.objects.filter(pk=other.pk).update(version="1.1.0")
    operation = services.submit(
        kind="deploy", target_id=one.pk, params={"version": "1.1.0"}, actor=operator, reason="new"
    )
    runner._round(runner._round(engine.claim(owner="a", limit=1)))  # it has put the version in place
    Operation.objects.filter(pk=operation.pk).unrecorded_update(lost=engine.MAX_LOST)
    Operation.objects.filter(pk=operation.pk).unrecorded_update(lease_until=operation.created_at)
    runner.run_due()
    one.refresh_from_db()
    assert state_of(operation) == State.FAILED
    assert (one.version, one.wanted_version) == ("1.0.0", "1.0.0")
