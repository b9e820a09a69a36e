"""Recovery acts inside its limits, sees whether it helped, and stops when it does not."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, time, timedelta

import pytest
import time_machine
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.utils import timezone

from apps.access.models import Grant, User
from apps.access.services import system_actor
from apps.alerts import approving, managing, processing, recovery, rehearsing, services
from apps.alerts.models import Alert, Incident, RecoveryDecision, RecoveryPolicy, Signal
from apps.core.models import Event
from apps.fleet.models import Cell, Instance
from apps.operations.models import ApprovalRule, Operation
from apps.operations.services import submit
from tests.alerts.conftest import fail, make_recovery, mend, open_alerts, recover
from tests.factories import as_system, make_cell, make_instance, make_tenant, make_user, place

Many = Callable[[int], list[Instance]]


def end(state: str = "succeeded") -> None:
    """The operations under way end."""
    Operation.objects.filter(finished_at__isnull=True).unrecorded_update(
        state=state, finished_at=timezone.now(), error="" if state == "succeeded" else "it crashes"
    )


def states() -> list[str]:
    return list(RecoveryDecision.objects.order_by("id").values_list("state", flat=True))


class TestDeciding:
    def test_signal_decision_action_result(self, boss: User, instances: Many) -> None:
        make_recovery(boss)
        (one,) = instances(1)
        fail(one)
        assert (recover(), recover()) == (1, 0)
        decision = RecoveryDecision.objects.get()
        operation = Operation.objects.get()
        assert (operation.pk, operation.kind, operation.target_id) == (
            decision.operation_id,
            "restart",
            one.pk,
        )
        assert (operation.actor.username, operation.via) == ("system:recovery", "system")
        assert recovery.see_results() == 0
        end()
        mend(one)
        assert recovery.see_results() == 1
        assert states() == ["helped"]
        kinds = list(
            Event.objects.filter(kind__startswith="incident.rec")
            .order_by("id")
            .values_list("kind", flat=True)
        )
        assert kinds == ["incident.recovery", "incident.recovered"]

    def test_a_worker_that_dies_between_decision_and_operation(
        self, boss: User, instances: Many, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_recovery(boss)
        fail(instances(1))
        with monkeypatch.context() as patch:
            patch.setattr(recovery, "carry_out", lambda: 0)
            recover()
        assert (states(), Operation.objects.count()) == (["decided"], 0)
        with monkeypatch.context() as patch:  # the operation is there, the note of it is not
            patch.setattr(RecoveryDecision.objects, "filter", RecoveryDecision.objects.filter)
            assert recovery.carry_out() == 1
        RecoveryDecision.objects.update(state="decided", operation_id=None)
        recovery.carry_out()
        assert Operation.objects.count() == 1

    def test_only_what_it_names(self, boss: User, cell: Cell) -> None:
        make_recovery(boss, cell=cell)
        here, there = make_instance(cell=cell), make_instance(cell=make_cell())
        fail([here, there])
        assert recover() == 1
        assert Operation.objects.get().target_id == here.pk

    def test_it_waits_for_what_is_under_way(self, boss: User, instances: Many) -> None:
        make_recovery(boss)
        (one,) = instances(1)
        submit(kind="restart", target_id=one.pk, actor=boss, reason="mine")
        fail(one)
        assert recover() == 0

    def test_it_does_not_wait_for_what_waits_for_approval(self, boss: User, instances: Many) -> None:
        """That may take days, in which the instance would stay down."""
        make_recovery(boss)
        (one,) = instances(1)
        with as_system():
            ApprovalRule.objects.create(kind="deploy", note="x")
        asked = submit(kind="deploy", target_id=one.pk, params={"version": "2.0"}, actor=boss, reason="mine")
        assert asked.state == "awaiting_approval"
        fail(one)
        assert recover() == 1

    def test_a_dry_run_does_nothing_and_keeps_its_limits(self, boss: User, instances: Many) -> None:
        make_recovery(boss, is_dry_run=True, per_cell=2)
        fail(instances(3))
        assert recover() == 0
        assert not Operation.objects.exists()
        assert sorted(RecoveryDecision.objects.values_list("verdict", flat=True)) == [
            "dry_run",
            "dry_run",
            "held",
        ]

    def test_roll_back_takes_back_the_last_deploy(self, boss: User, instances: Many) -> None:
        make_recovery(boss, remedy="roll_back")
        one, two = instances(2)
        made = submit(kind="deploy", target_id=one.pk, params={"version": "2.0"}, actor=boss, reason="new")
        Operation.objects.filter(pk=made.pk).unrecorded_update(
            state="succeeded",
            started_at=timezone.now(),
            finished_at=timezone.now(),
            notes={"wanted_before": "1.0.0"},
        )
        fail([one, two])
        assert recover() == 1
        last = Operation.objects.latest("id")
        assert (last.kind, last.params, last.target_id) == ("deploy", {"version": "1.0.0"}, one.pk)
        held = RecoveryDecision.objects.get(verdict="held")
        assert held.why == "no deploy of the last 24 hours to take back"

    def test_nobody_orders_what_they_may_not_do(self, olga: User, cell: Cell) -> None:
        with pytest.raises(PermissionDenied):
            make_recovery(olga)
        make_recovery(olga, cell=cell)
        grants = Grant.objects.filter(user=system_actor("recovery"))
        assert [(g.role.name, g.scope.kind, g.scope.object_id) for g in grants] == [
            ("recovery", "cell", cell.pk)
        ]


class TestLimits:
    def cycle(self, one: Instance, after: float) -> int:
        """It fails once more, `after` seconds from now."""
        with time_machine.travel(timezone.now() + timedelta(seconds=after), tick=False):
            fail(one)
            return recover()

    def test_cooldown_then_tries(self, boss: User, instances: Many) -> None:
        make_recovery(boss, cooldown=60, tries=2, breaker_after=9)
        (one,) = instances(1)
        asked = []
        for after in (0, 30, 61, 122, 3700):
            asked.append(self.cycle(one, after))
            with time_machine.travel(timezone.now() + timedelta(seconds=after), tick=False):
                end()
                mend(one)
                recovery.see_results()
        assert asked == [1, 0, 1, 0, 1]

    def test_per_cell_and_fleet_wide(self, boss: User, cell: Cell) -> None:
        make_recovery(boss, per_cell=2, per_fleet=3)
        other = make_cell()
        fail([make_instance(cell=cell) for _ in range(4)] + [make_instance(cell=other) for _ in range(4)])
        assert recover() == 3
        by_cell = [Operation.objects.filter(cell_id=c.pk).count() for c in (cell, other)]
        assert by_cell == [2, 1]

    def test_hours(self, boss: User, instances: Many) -> None:
        make_recovery(boss, hours_from=time(9), hours_until=time(17), zone="Europe/Berlin")
        fail(instances(1))
        Alert.objects.update(opened_at=datetime(2026, 1, 1, tzinfo=timezone.get_default_timezone()))
        assert recovery.decide(datetime(2026, 7, 1, 6, 59, tzinfo=timezone.get_default_timezone())) == 0
        assert recovery.decide(datetime(2026, 7, 1, 7, 0, tzinfo=timezone.get_default_timezone())) == 1

    def test_a_reason_is_kept_once_though_its_figures_change(self, boss: User, instances: Many) -> None:
        make_recovery(boss, cooldown=600)
        (one,) = instances(1)
        fail(one)
        recover()
        end()
        for seconds in (30, 31, 32):
            with time_machine.travel(timezone.now() + timedelta(seconds=seconds), tick=False):
                recovery.see_results()
                recover()
        assert RecoveryDecision.objects.filter(verdict="held").count() == 1

    @pytest.mark.parametrize("remedy", ["restart"])
    def test_a_storm_of_two_thousand(self, boss: User, cell: Cell, remedy: str) -> None:
        """Two thousand instances in four cells fail at once, again and again: never more than the limits allow."""
        make_recovery(boss, remedy=remedy, per_cell=5, per_fleet=12, breaker_after=50)
        from apps.fleet.models import SimulatedInstance
        from tests.factories import as_system

        cells = [cell, *(make_cell() for _ in range(3))]
        with as_system():
            rows = Instance.objects.create_unrecorded(
                [
                    Instance(
                        name=f"storm-{i}",
                        cell=cells[i % 4],
                        health="well",
                        version="1",
                        wanted_version="1",
                        generation=1,
                    )
                    for i in range(2_000)
                ]
            )
        SimulatedInstance.objects.bulk_create(SimulatedInstance(instance=i, version="1") for i in rows)
        for _ in range(3):
            fail(rows)
            recover()
            end("failed")
            recovery.see_results()
        assert open_alerts() >= 2_000
        assert Operation.objects.count() == 12
        assert max(Operation.objects.filter(cell_id=c.pk).count() for c in cells) <= 5
        assert Incident.objects.count() <= 4


class TestBreaker:
    def test_recoveries_that_do_not_help_stop_and_page(self, boss: User, instances: Many) -> None:
        policy = make_recovery(boss, cooldown=0, tries=9, breaker_after=3)
        (one,) = instances(1)
        fail(one)
        for _ in range(3):
            assert recover() == 1
            end("failed")
            assert recovery.see_results() == 1
        assert recover() == 0
        policy.refresh_from_db()
        assert policy.broken_at is not None
        assert RecoveryDecision.objects.latest("id").why.startswith("the circuit breaker is open")
        processing.process_signals()
        alert = Alert.objects.get(name=recovery.BREAKER)
        assert (alert.severity, alert.incident) == (
            "critical",
            Alert.objects.get(instance=one, name="InstanceFailing").incident,
        )
        managing.close_breaker(policy, actor=boss)
        processing.process_signals()
        assert not Alert.objects.get(name=recovery.BREAKER).is_open
        assert recover() == 1, "and counts anew"
        end("failed")
        recovery.see_results()
        policy.refresh_from_db()
        assert policy.broken_at is None

    def test_one_that_helps_begins_the_count_again(self, boss: User, instances: Many) -> None:
        policy = make_recovery(boss, cooldown=0, tries=9, breaker_after=2)
        (one,) = instances(1)
        for state in ("failed", "succeeded", "failed"):
            fail(one)
            recover()
            end(state)
            if state == "succeeded":
                mend(one)
            recovery.see_results()
        policy.refresh_from_db()
        assert policy.broken_at is None
        assert states() == ["no_help", "helped", "no_help"]

    def test_still_open_after_the_grace_did_not_help(self, boss: User, instances: Many) -> None:
        make_recovery(boss, grace=20)
        fail(instances(1))
        recover()
        end()
        assert recovery.see_results() == 0
        with time_machine.travel(timezone.now() + timedelta(seconds=21)):
            assert recovery.see_results() == 1
        assert states() == ["no_help"]


def test_a_dry_run_over_the_past_keeps_the_same_limits(boss: User, instances: Many) -> None:
    policy = make_recovery(boss, per_cell=2)
    rows = instances(4)
    fail(rows)
    mend(rows)
    told = rehearsing.would_have(policy, rehearsing.past(policy))
    assert [why for _, why in told] == ["", "", *["the 2 answers in one cell within an hour are used up"] * 2]
    assert rehearsing.would_have(RecoveryPolicy(alert_name="Other"), rehearsing.past(policy)) == []


def test_a_dry_run_does_what_the_real_thing_did(boss: User, instances: Many) -> None:
    """Five fail at once, two an hour may be answered: the others are answered an hour later each, in both."""
    policy = make_recovery(
        boss, per_cell=2, per_fleet=9, breaker_after=9, hours_from=time(9), hours_until=time(12)
    )
    rows, start = instances(5), datetime(2026, 7, 1, 8, 30, tzinfo=UTC)
    real = []
    for minute in range(0, 270, 5):
        at = start + timedelta(minutes=minute)
        with time_machine.travel(at, tick=False):
            if not minute:
                fail(rows)
            recover()
            for operation in list(Operation.objects.filter(finished_at__isnull=True).order_by("id")):
                real.append((operation.target_id, minute))
                end()
                mend(Instance.objects.get(pk=operation.target_id))
                recovery.see_results()
    assert real == [(r.pk, m) for r, m in zip(rows, (30, 30, 90, 90, 150), strict=True)]
    with time_machine.travel(start + timedelta(hours=5), tick=False):
        told = rehearsing.would_have(policy, rehearsing.past(policy))
        assert [(a.instance_id, why) for a, why in told] == [(r.pk, "") for r in rows]
        # Resolved a moment after the third hour began, as the real one was; a minute before it the last was not answered.
        Alert.objects.filter(instance=rows[4]).update(resolved_at=start + timedelta(minutes=149))
        told = rehearsing.would_have(policy, rehearsing.past(policy))
        assert [why for _, why in told][4] == "the 2 answers in one cell within an hour are used up"


def test_a_dry_run_leaves_out_what_another_policy_answers_first(boss: User, instances: Many) -> None:
    first = make_recovery(boss, rank=1)
    second = make_recovery(boss, name="later", rank=2)
    fail(instances(2))
    alerts = rehearsing.past(second)
    assert len(rehearsing.would_have(first, alerts)) == 2
    assert rehearsing.would_have(second, alerts) == []
    managing.switch_recovery(first, on=False, actor=boss)
    assert len(rehearsing.would_have(second, alerts)) == 2


class TestManyAtOnce:
    def test_one_that_is_new_does_not_wait_behind_those_that_nothing_answers(
        self, boss: User, instances: Many, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recovery, "AT_ONCE", 3)
        make_recovery(boss, alert_name="Other")
        held = make_recovery(boss, name="held", per_cell=1)
        fail(instances(7))
        assert recover() == 1
        assert RecoveryDecision.objects.filter(policy=held, verdict="held").count() == 6
        (new,) = instances(1)
        other = Alert.objects.filter(instance__isnull=False).latest("id")
        other.pk, other.name, other.instance = None, "Other", new
        other.fingerprint = "other"
        other.save()
        assert recover() == 1
        assert Operation.objects.latest("id").target_id == new.pk

    def test_workers_that_race_keep_within_the_limits(self, boss: User, cell: Cell, instances: Many) -> None:
        make_recovery(boss, per_cell=5, per_fleet=5)
        fail(instances(40))

        def work(_: int) -> int:
            try:
                return recover()
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(12)))
        assert Operation.objects.count() == 5
        assert RecoveryDecision.objects.filter(verdict="act").count() == 5

    def test_workers_that_race_open_the_breaker_once_and_page_once(self, boss: User, instances: Many) -> None:
        policy = make_recovery(boss, breaker_after=4)
        fail(instances(4))
        assert recover() == 4
        end("failed")

        def work(_: int) -> int:
            try:
                return recovery.see_results()
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(work, range(8))) == 4
        policy.refresh_from_db()
        assert policy.broken_at is not None
        assert Signal.objects.filter(name=recovery.BREAKER).count() == 1


class TestNotNeededAnyMore:
    def test_a_decision_that_a_dead_worker_left_is_not_carried_out_once_the_alert_is_over(
        self, boss: User, instances: Many, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_recovery(boss)
        (one,) = instances(1)
        fail(one)
        with monkeypatch.context() as patch:
            patch.setattr(recovery, "carry_out", lambda: 0)
            recover()
        mend(one)
        assert recover() == 0
        assert (states(), Operation.objects.count()) == (["closed"], 0)
        event = Event.objects.filter(kind="incident.recovery").latest("id")
        assert event.title.endswith("was not needed any more")

    def test_what_was_declined_or_needless_does_not_count_for_the_breaker(
        self, boss: User, instances: Many
    ) -> None:
        policy = make_recovery(boss, breaker_after=2)
        one, two, three = instances(3)
        for row, state in ((one, "no_help"), (two, "closed"), (three, "")):
            fail(row)
            recover()
            end("failed")
            if state == "closed":
                RecoveryDecision.objects.filter(instance=row).update(state=state, ended_at=timezone.now())
            recovery.see_results()
        policy.refresh_from_db()
        assert policy.broken_at is not None

    def test_who_said_no_is_not_asked_again_while_it_goes_on(self, boss: User, cell: Cell) -> None:
        make_recovery(boss, max_affected=0, cooldown=0)
        one = make_instance(cell=cell)
        place(make_tenant(), one)
        fail(one)
        recover()
        approving.decide(RecoveryDecision.objects.get(), yes=False, actor=boss)
        assert (recover(), states()) == (0, ["closed"])
        mend(one)
        with time_machine.travel(timezone.now() + timedelta(hours=1)):
            fail(one)
            recover()
        assert states() == ["closed", "waiting"], "another time is another question"

    def test_an_answer_that_waits_is_not_approved_once_it_makes_no_sense(
        self, boss: User, cell: Cell
    ) -> None:
        make_recovery(boss, max_affected=0)
        one = make_instance(cell=cell)
        place(make_tenant(), one)
        fail(one)
        recover()
        decision = RecoveryDecision.objects.select_related("policy", "alert").get()
        second = make_user("second", superuser=True)
        for change, word in (
            ({"broken_at": timezone.now()}, "breaker"),
            ({"broken_at": None, "is_enabled": False}, "switched off"),
        ):
            for name, value in change.items():
                setattr(decision.policy, name, value)
            with pytest.raises(services.Refused, match=word):
                approving.decide(decision, yes=True, actor=second)
        mend(one)
        with pytest.raises(services.Refused, match="resolved"):
            approving.decide(RecoveryDecision.objects.get(), yes=True, actor=second)
        assert not Operation.objects.exists()


def test_a_dry_run_takes_nothing_from_what_is_real(boss: User, instances: Many) -> None:
    """What a dry run would have done neither cools an instance down nor uses up its tries for a policy that acts."""
    make_recovery(boss, name="looks", alert_name="Slow", is_dry_run=True, rank=1)
    make_recovery(boss, tries=1, cooldown=600)
    (one,) = instances(1)
    fail(one)
    slow = Alert.objects.get()
    slow.pk, slow.name, slow.fingerprint = None, "Slow", "slow"
    Alert.objects.update(opened_at=timezone.now() + timedelta(hours=1))
    slow.save()
    assert recover() == 0
    Alert.objects.update(opened_at=timezone.now())
    assert list(RecoveryDecision.objects.values_list("verdict", flat=True)) == ["dry_run"]
    assert recover() == 1
