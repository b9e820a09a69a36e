"""Rollouts beside each other, beside people and beside operations: whoever comes in between, the policy holds and nobody is changed twice.

Threads with connections of their own where chance decides; where the moment matters it is made to come, by acting
in the middle of the driver's step.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from django.db import connection, connections

from apps.access.models import User
from apps.core.models import Event
from apps.fleet.models import Instance, SimulatedEffect, SimulatedInstance
from apps.operations import endings, runner
from apps.operations.choices import State
from apps.operations.models import Operation
from apps.operations.services import Refused, submit_many
from apps.releases import asking, driving, gates
from apps.releases.choices import RolloutState, TargetState
from apps.releases.models import Release, Rollout
from apps.releases.rollouts import steer, steer_target
from apps.releases.rules import set_policy
from tests.factories import as_system
from tests.releases.conftest import make_release, run, start

Fleet = Callable[[int], list[Instance]]
pytestmark = pytest.mark.django_db(transaction=True)

WATCH = """
CREATE TABLE watched (disturbed int);
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO watched SELECT count(*) FROM (
    SELECT target_id FROM operations_operation WHERE is_changing AND state IN ('pending', 'running')
    UNION SELECT id FROM fleet_instance WHERE wanted = 'running' AND health IN ('failing', 'degraded', 'unknown')) d;
  RETURN NULL;
END $$;
CREATE TRIGGER watch AFTER INSERT OR UPDATE ON operations_operation FOR EACH STATEMENT EXECUTE FUNCTION watch();
"""
UNWATCH = "DROP TRIGGER watch ON operations_operation; DROP FUNCTION watch; DROP TABLE watched"


def execute(statements: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statements)


@pytest.fixture
def watched(db: None) -> Iterator[Callable[[], int]]:
    """How many instances were changing or unhealthy at once, at most, at any statement of anybody."""

    def most() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT coalesce(max(disturbed), 0) FROM watched")
            return int(cursor.fetchone()[0])

    execute(WATCH)
    try:
        yield most
    finally:
        execute(UNWATCH)


def together(*works: Callable[[], object]) -> list[object]:
    """Do all at once, each in a thread with a connection of its own; gives what each gave or raised."""
    gate = threading.Barrier(len(works))
    given: list[object] = [None] * len(works)

    def one(index: int, work: Callable[[], object]) -> None:
        try:
            gate.wait(timeout=10)
            given[index] = work()
        except Exception as error:  # noqa: BLE001 - for the test to look at
            given[index] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one, args=pair, daemon=True) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=90)
        assert not thread.is_alive(), "it hangs"
    return given


def until_ended(rollouts: Sequence[Rollout], *more: Callable[[], object], drivers: int = 2) -> None:
    """Drivers and workers at once until these rollouts have ended; nobody may have raised."""
    deadline = time.monotonic() + 60
    pks = [rollout.pk for rollout in rollouts]

    def again(work: Callable[[], object]) -> Callable[[], None]:
        def loop() -> None:
            while Rollout.objects.filter(
                pk__in=pks, state__in=[RolloutState.RUNNING, RolloutState.ROLLING_BACK]
            ).exists():
                assert time.monotonic() < deadline, list(Rollout.objects.values_list("state", "why", "note"))
                work()
                time.sleep(0.005)

        return loop

    loops = [again(driving.advance_all) for _ in range(drivers)] + [again(runner.run_due) for _ in range(2)]
    faults = [one for one in together(*loops, *more) if isinstance(one, Exception)]
    assert faults == []
    runner.run_due()
    for rollout in rollouts:
        rollout.refresh_from_db()


def applied_twice() -> list[tuple[int, str]]:
    seen = list(SimulatedEffect.objects.filter(kind="apply").values_list("instance_id", "version"))
    return [one for one in set(seen) if seen.count(one) > 1]


def limit(boss: User, count: int) -> None:
    set_policy(scope="fleet", object_id=0, max_count=count, max_percent=None, actor=boss, reason="as agreed")


def at(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], object]) -> None:
    """Let `act` happen once, in the middle of a driver's step: just before it calls `asking.<name>`."""
    real, left = getattr(asking, name), [act]

    def hooked(*args: Any, **kwargs: Any) -> Any:
        if left:
            left.pop()()
        return real(*args, **kwargs)

    monkeypatch.setattr(asking, name, hooked)


# --- Two at once --------------------------------------------------------------------------------


def test_two_rollouts_and_an_operator_never_exceed_the_policy(
    fleet: Fleet, boss: User, watched: Callable[[], int]
) -> None:
    instances = fleet(18)
    limit(boss, 4)
    first = start(make_release("2.0.0"), boss, canary="50%", query="q=i-00")
    second = start(make_release("3.0.0"), boss, canary="50%", query="q=i-01")

    def operator() -> None:
        for number in range(6):
            ids = [one.pk for one in instances[number * 3 : number * 3 + 3]]
            submit_many(kind="restart", target_ids=ids, params={}, actor=boss, reason="beside it")
            time.sleep(0.05)

    until_ended([first, second], operator)
    assert (first.state, second.state) == (RolloutState.SUCCEEDED, RolloutState.SUCCEEDED)
    assert set(first.targets.values_list("state", flat=True)) == {TargetState.DONE}
    assert set(second.targets.values_list("state", flat=True)) == {TargetState.DONE}
    assert first.targets.count() + second.targets.count() == 18
    assert 0 < watched() <= 4
    assert applied_twice() == []


def test_many_schedulers_drive_one_rollout_once(fleet: Fleet, release: Release, boss: User) -> None:
    fleet(20)
    rollout = start(release, boss, canary="20%", concurrency=7)
    until_ended([rollout], drivers=5)
    assert rollout.state == RolloutState.SUCCEEDED
    assert Operation.objects.count() == SimulatedEffect.objects.filter(kind="apply").count() == 20
    assert Event.objects.filter(kind="rollout.succeeded").count() == 1
    assert Event.objects.filter(kind="rollout.gate_passed").count() == rollout.waves.count()


def test_two_that_drive_without_a_lease_ask_once(
    fleet: Fleet, release: Release, boss: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease that ran out: both look at the same rows at the same time."""
    fleet(12)
    rollout = start(release, boss, canary="100%")
    monkeypatch.setattr(driving, "LEASE", -1.0)
    faults = [one for one in together(*[lambda: driving.advance(rollout.pk)] * 4) if one is not True]
    assert faults == []
    assert Operation.objects.count() == 12
    assert run(rollout).state == RolloutState.SUCCEEDED
    assert SimulatedEffect.objects.filter(kind="apply").count() == 12


@pytest.mark.parametrize("order", ["pause", "abort", "roll_back"])
def test_of_eight_clicks_one_counts(fleet: Fleet, release: Release, boss: User, order: str) -> None:
    fleet(4)
    rollout = start(release, boss)

    def click() -> bool:
        steer(Rollout.objects.get(pk=rollout.pk), order, actor=boss, reason="eight times")
        return True

    given = together(*[click] * 8)
    assert given.count(True) == 1
    assert all(one is True or isinstance(one, Refused) for one in given), given
    told = {"pause": "paused", "abort": "aborted", "roll_back": "rolling_back"}[order]
    assert Event.objects.filter(kind=f"rollout.{told}").count() == 1


def test_orders_that_contradict_leave_one_state_and_no_loose_end(
    fleet: Fleet, release: Release, boss: User
) -> None:
    fleet(12)
    rollout = start(release, boss, canary="50%", concurrency=3)

    def order(name: str) -> Callable[[], object]:
        def give() -> None:
            for _ in range(4):
                try:
                    steer(Rollout.objects.get(pk=rollout.pk), name, actor=boss, reason="at once")
                except Refused:
                    time.sleep(0.01)

        return give

    def work() -> None:
        for _ in range(20):
            driving.advance_all()
            runner.run_due()

    given = together(*[order(name) for name in ("pause", "resume", "abort", "retry")], work, work)
    assert [one for one in given if one is not None] == []
    rollout.refresh_from_db()
    for name in {RolloutState.PAUSED: ["resume"], RolloutState.ABORTED: ["retry"]}.get(
        RolloutState(rollout.state), []
    ):
        steer(rollout, name, actor=boss, reason="to its end")
    assert run(rollout).state == RolloutState.SUCCEEDED, (rollout.why, rollout.note)
    assert set(rollout.targets.values_list("state", flat=True)) <= {TargetState.DONE, TargetState.SKIPPED}
    assert applied_twice() == []
    assert not Operation.objects.filter(state__in=[State.PENDING, State.RUNNING]).exists()


# --- In the middle of a step ----------------------------------------------------------------------


def test_one_that_is_skipped_as_it_is_taken_is_not_changed(
    fleet: Fleet, release: Release, boss: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet(3)
    rollout = start(release, boss, canary="100%")
    target = rollout.targets.select_related("rollout", "instance").first()
    assert target is not None
    at(monkeypatch, "held_instances", lambda: steer_target(target, "skip", actor=boss, reason="not this one"))
    assert run(rollout).state == RolloutState.SUCCEEDED
    target.refresh_from_db()
    assert target.state == TargetState.SKIPPED
    assert Operation.objects.count() == 2
    assert not SimulatedEffect.objects.filter(instance_id=target.instance_id).exists()


def test_a_pause_as_targets_are_chosen_lets_none_of_them_begin(
    fleet: Fleet, release: Release, boss: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet(3)
    rollout = start(release, boss, canary="100%")
    at(monkeypatch, "held_instances", lambda: steer(rollout, "pause", actor=boss, reason="wait"))
    assert run(rollout).state == RolloutState.PAUSED
    assert not Operation.objects.exists()
    steer(rollout, "resume", actor=boss, reason="go on")
    assert run(rollout).state == RolloutState.SUCCEEDED


@pytest.mark.parametrize("order", ["abort", "roll_back"])
def test_what_is_asked_for_as_it_ends_does_not_begin(
    fleet: Fleet, release: Release, boss: User, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    fleet(3)
    rollout = start(release, boss, canary="100%")
    # After it was taken, before its operation is there: whoever ends the rollout finds nothing to cancel.
    at(monkeypatch, "_submit", lambda: steer(rollout, order, actor=boss, reason="stop"))
    monkeypatch.setattr(endings, "_listeners", {})
    driving.advance(rollout.pk)
    run(rollout)
    assert rollout.state == (RolloutState.ABORTED if order == "abort" else RolloutState.ROLLED_BACK)
    assert not SimulatedEffect.objects.exists()
    assert set(rollout.targets.values_list("state", flat=True)) == {TargetState.WAITING}
    if order == "abort":
        steer(rollout, "retry", actor=boss, reason="after all")
        assert run(rollout).state == RolloutState.SUCCEEDED
        assert applied_twice() == []


def test_the_start_itself_is_refused_once_the_rollout_has_ended(
    fleet: Fleet, release: Release, boss: User
) -> None:
    """As with a worker that claims in the moment between the end and the cancelling."""
    fleet(2)
    rollout = start(release, boss, canary="100%")
    driving.advance_all()
    with as_system():
        Rollout.objects.filter(pk=rollout.pk).update(state=RolloutState.ABORTED)
    runner.run_due()
    assert set(Operation.objects.values_list("state", flat=True)) == {State.FAILED}
    assert "It was not begun: rollout" in Operation.objects.first().error  # type: ignore[union-attr]
    rollout.refresh_from_db()
    assert not SimulatedEffect.objects.exists()
    assert set(rollout.targets.values_list("state", flat=True)) == {TargetState.WAITING}


def test_one_tried_again_as_its_wave_ends_is_not_forgotten(
    fleet: Fleet, release: Release, boss: User
) -> None:
    fleet(6)
    rollout = start(release, boss, canary="50%")
    skipped = rollout.targets.select_related("rollout", "instance").first()
    assert skipped is not None
    steer_target(skipped, "skip", actor=boss, reason="later")
    skipped.refresh_from_db()

    def retry() -> None:
        time.sleep(0.05)
        for _ in range(200):
            try:
                steer_target(skipped, "retry", actor=boss, reason="now")
                return
            except Refused:
                time.sleep(0.005)

    until_ended([rollout], retry)
    skipped.refresh_from_db()
    retried = skipped.attempt > 1
    assert skipped.state == (TargetState.DONE if retried else TargetState.SKIPPED)
    assert not rollout.targets.filter(state__in=[TargetState.WAITING, TargetState.CHANGING]).exists()


def test_a_wave_does_not_pass_over_one_that_waits_again(
    fleet: Fleet, release: Release, boss: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is put back after the gate has looked, before the wave is written as passed."""
    fleet(4)
    rollout = start(release, boss, canary="100%")
    target = rollout.targets.select_related("rollout", "instance").first()
    assert target is not None
    steer_target(target, "skip", actor=boss, reason="later")
    target.refresh_from_db()
    real, left = gates.judge, [1]

    def judge(evidence: Any) -> Any:
        judgement = real(evidence)
        if judgement.verdict == "pass" and left:
            left.pop()
            steer_target(target, "retry", actor=boss, reason="now")
        return judgement

    monkeypatch.setattr(driving, "judge", judge)
    assert run(rollout).state == RolloutState.SUCCEEDED
    assert set(rollout.targets.values_list("state", flat=True)) == {TargetState.DONE}


def test_a_roll_back_in_the_middle_leaves_nobody_on_the_new_version(
    fleet: Fleet, release: Release, boss: User, watched: Callable[[], int]
) -> None:
    fleet(12)
    limit(boss, 3)
    rollout = start(release, boss, canary="100%", concurrency=3)

    def back() -> None:
        while not rollout.targets.filter(state=TargetState.DONE).exists():
            time.sleep(0.005)
        steer(Rollout.objects.get(pk=rollout.pk), "roll_back", actor=boss, reason="no good")

    until_ended([rollout], back)
    assert rollout.state == RolloutState.ROLLED_BACK
    assert not SimulatedInstance.objects.filter(version="2.0.0").exists()
    states = set(rollout.targets.values_list("state", flat=True))
    assert states <= {TargetState.RETURNED, TargetState.WAITING}
    assert watched() <= 3


# --- A worker that died in between ------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["_submit", "_attach"])
def test_who_dies_between_taking_and_noting_loses_nothing(
    fleet: Fleet, release: Release, boss: User, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    fleet(5)
    rollout = start(release, boss, canary="100%")

    def die() -> None:
        raise SystemExit

    at(monkeypatch, moment, die)
    with pytest.raises(SystemExit):
        driving.advance(rollout.pk)
    taken = rollout.targets.filter(state=TargetState.CHANGING, operation_id__isnull=True)
    assert taken.count() == 5
    assert Operation.objects.count() == (0 if moment == "_submit" else 5)
    assert run(rollout).state == RolloutState.SUCCEEDED
    assert Operation.objects.count() == 5
    assert applied_twice() == []


def test_versions_are_judged_each_by_itself_at_the_start(fleet: Fleet, boss: User) -> None:
    """One actor's deployments of two versions, claimed together: a withdrawn one does not carry the other with it."""
    instances = fleet(2)
    bad = make_release("3.0.0")
    make_release("2.0.0")
    for one, version in zip(instances, ("2.0.0", "3.0.0"), strict=True):
        submit_many(
            kind="deploy", target_ids=[one.pk], params={"version": version}, actor=boss, reason="by hand"
        )
    with as_system():
        Release.objects.filter(pk=bad.pk).update(life="withdrawn")
    runner.run_due()
    states = dict(Operation.objects.values_list("params__version", "state"))
    assert states == {"2.0.0": State.SUCCEEDED, "3.0.0": State.FAILED}
