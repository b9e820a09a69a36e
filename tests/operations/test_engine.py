"""Leases, fences and the worker's loop, over the simulated provider."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Max, Min
from django.utils import timezone

from apps.access.models import Grant, User
from apps.access.services import take_grant
from apps.audit.models import AuditEntry
from apps.core.models import Event
from apps.fleet.choices import Fault, Health
from apps.fleet.models import Diagnostics, Instance, SimulatedEffect, SimulatedInstance
from apps.operations import deciding, engine, runner, services, upkeep
from apps.operations.choices import State
from apps.operations.kinds import Done, Failed
from apps.operations.models import Operation, Step
from tests.factories import as_system


def submit(instance: Instance, actor: User, kind: str = "restart", **params: str) -> Operation:
    return services.submit(kind=kind, target_id=instance.pk, params=params, actor=actor, reason="it hangs")


def order(instance: Instance, **columns: object) -> None:
    SimulatedInstance.objects.filter(pk=instance.pk).update(**columns)


def state_of(operation: Operation) -> str:
    operation.refresh_from_db()
    return operation.state


def expire_leases() -> None:
    Operation.objects.filter(state=State.RUNNING).unrecorded_update(
        lease_until=timezone.now() - timedelta(seconds=1)
    )


class TestLoop:
    def test_a_restart_restarts_once(self, instance: Instance, operator: User) -> None:
        operation = submit(instance, operator)
        assert runner.run_due() == 1
        assert state_of(operation) == State.SUCCEEDED
        assert operation.lease_until is None
        assert list(SimulatedEffect.objects.values_list("kind", flat=True)) == ["restart"]
        assert [step.name for step in operation.steps.all()] == ["look", "restart", "wait until healthy"]
        instance.refresh_from_db()
        assert (instance.generation, instance.health) == (2, Health.WELL)

    def test_it_tells_what_happened(self, instance: Instance, operator: User) -> None:
        submit(instance, operator)
        runner.run_due()
        kinds = list(Event.objects.order_by("id").values_list("kind", flat=True))
        assert kinds == ["operation.submitted", "operation.started", "operation.succeeded"]

    def test_stop_and_start(self, instance: Instance, operator: User) -> None:
        submit(instance, operator, "stop")
        runner.run_due()
        instance.refresh_from_db()
        assert (instance.wanted, instance.health) == ("stopped", Health.STOPPED)
        operation = submit(instance, operator, "start")
        runner.run_due()
        instance.refresh_from_db()
        assert (instance.wanted, instance.health) == ("running", Health.WELL)
        entry = AuditEntry.objects.filter(content_type__model="instance", object_id=instance.pk).latest(
            "timestamp"
        )
        assert (entry.changes, entry.operation_id, entry.actor) == (
            {"wanted": ["stopped", "running"]},
            operation.pk,
            operator,
        )

    def test_deploy_moves_the_version(
        self, instance: Instance, operator: User, instances: Callable[[int], list[Instance]]
    ) -> None:
        order(instances(1)[0], version="1.1.0")
        operation = submit(instance, operator, "deploy", version="1.1.0")
        runner.run_due()
        instance.refresh_from_db()
        assert state_of(operation) == State.SUCCEEDED, operation.error
        assert (instance.version, instance.wanted_version) == ("1.1.0", "1.1.0")

    def test_a_version_that_crashes_is_taken_back(
        self,
        instance: Instance,
        operator: User,
        instances: Callable[[int], list[Instance]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        order(instances(1)[0], version="1.1.0")
        order(instance, crash_on_version="1.1.0")
        operation = submit(instance, operator, "deploy", version="1.1.0")
        runner.run_due()
        instance.refresh_from_db()
        assert state_of(operation) == State.FAILED
        assert "crashes on version 1.1.0" in operation.error
        assert (instance.version, instance.wanted_version, instance.health) == ("1.0.0", "1.0.0", Health.WELL)
        assert [step.name for step in operation.steps.filter(is_undo=True)] == [
            "put the old version back",
            "wait until healthy",
        ]

    def test_a_version_that_nobody_has_fails_before_anything_changed(
        self, instance: Instance, operator: User
    ) -> None:
        operation = submit(instance, operator, "deploy", version="9.9")
        runner.run_due()
        assert state_of(operation) == State.FAILED
        assert "no version “9.9”" in operation.error
        assert not SimulatedEffect.objects.exists()

    def test_diagnostics_are_one_bundle(self, instance: Instance, operator: User) -> None:
        operation = submit(instance, operator, "diagnose")
        runner.run_due()
        assert state_of(operation) == State.SUCCEEDED
        assert set(Diagnostics.objects.get(operation_id=operation.pk).parts) >= {
            "logs",
            "metrics",
            "observation",
            "process",
        }

    def test_a_flaky_provider_is_tried_again(
        self, instance: Instance, operator: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(deciding, "backoff", lambda attempt: 0.0)
        order(instance, fault=Fault.FLAKY, fault_value=1.0)
        operation = submit(instance, operator)
        runner.run_due()
        operation.refresh_from_db()
        assert state_of(operation) == State.FAILED
        assert operation.retries == 3
        assert SimulatedEffect.objects.count() <= 1

    def test_what_never_becomes_ready_runs_out_of_time(self, instance: Instance, operator: User) -> None:
        order(instance, fault=Fault.HANG)
        operation = submit(instance, operator)
        works = engine.claim(owner="w", limit=1)
        runner._round(works)
        runner._round(works)
        works[0].step_started_at -= timedelta(minutes=2)
        runner._round(works)
        assert state_of(operation) == State.FAILED
        assert "not done within 60 s" in operation.error

    def test_many_slow_starts_share_one_thread(
        self, instances: Callable[[int], list[Instance]], operator: User
    ) -> None:
        many = instances(30)
        SimulatedInstance.objects.update(fault=Fault.SLOW, fault_value=0.6)
        for one in many:
            submit(one, operator)
        runner.run_due()
        done = Operation.objects.filter(state=State.SUCCEEDED)
        assert done.count() == 30
        # Side by side, none after another: each had begun before the first was done.
        begun = done.aggregate(last=Max("started_at"), first=Min("finished_at"))
        assert begun["last"] < begun["first"]

    def test_a_cancel_takes_effect_at_the_steps_end(self, instance: Instance, operator: User) -> None:
        operation = submit(instance, operator)
        works = engine.claim(owner="w", limit=1)
        services.cancel(operation, actor=operator, reason="wrong one")
        assert runner._round(works) == []
        assert state_of(operation) == State.CANCELLED
        assert not SimulatedEffect.objects.exists()


class TestLeases:
    def test_a_lease_is_for_one(self, instance: Instance, operator: User) -> None:
        submit(instance, operator)
        assert len(engine.claim(owner="a", limit=10)) == 1
        assert engine.claim(owner="b", limit=10) == []

    def test_a_lease_that_ran_out_is_taken_over(self, instance: Instance, operator: User) -> None:
        operation = submit(instance, operator)
        first = engine.claim(owner="a", limit=1)[0]
        expire_leases()
        second = engine.claim(owner="b", limit=1)[0]
        assert (second.id, second.fence) == (first.id, first.fence + 1)
        operation.refresh_from_db()
        assert operation.lost == 1

    def test_who_lost_the_lease_writes_nothing(self, instance: Instance, operator: User) -> None:
        operation = submit(instance, operator)
        first = engine.claim(owner="a", limit=1)[0]
        expire_leases()
        engine.claim(owner="b", limit=1)
        before = (Step.objects.count(), Event.objects.count())
        assert engine.advance({first.id: (first, Done("late"))}) == []
        assert (Step.objects.count(), Event.objects.count()) == before
        assert state_of(operation) == State.RUNNING
        assert engine.renew([(first.id, first.fence)]) == set()

    def test_a_step_cut_short_is_repeated_without_a_second_effect(
        self, instance: Instance, operator: User
    ) -> None:
        operation = submit(instance, operator)
        works = runner._round(engine.claim(owner="a", limit=1))  # it has looked
        kind = runner.find_kind("restart")
        runner._run_step(kind, False, 1, works).__next__()  # it has restarted, and dies before it can say so
        expire_leases()
        runner.run_due()
        assert state_of(operation) == State.SUCCEEDED
        assert SimulatedEffect.objects.count() == 1

    def test_an_operation_that_kills_its_workers_is_given_up(
        self, instance: Instance, operator: User
    ) -> None:
        operation = submit(instance, operator)
        engine.claim(owner="a", limit=1)
        Operation.objects.filter(pk=operation.pk).unrecorded_update(lost=engine.MAX_LOST)
        expire_leases()
        assert engine.claim(owner="b", limit=1) == []
        assert state_of(operation) == State.FAILED

    def test_released_leases_go_on_at_once(self, instance: Instance, operator: User) -> None:
        submit(instance, operator)
        engine.release([(work.id, work.fence) for work in engine.claim(owner="a", limit=1)])
        assert len(engine.claim(owner="b", limit=1)) == 1


class TestOneChangeAtATime:
    def test_the_second_waits_for_the_first(self, instance: Instance, operator: User) -> None:
        first, second = submit(instance, operator), submit(instance, operator, "stop")
        assert [work.id for work in engine.claim(owner="a", limit=10)] == [first.pk]
        assert engine.claim(owner="b", limit=10) == []
        waits_for = services.waits_for(second)
        assert waits_for is not None
        assert waits_for.pk == first.pk

    def test_both_run_in_the_end_in_order(self, instance: Instance, operator: User) -> None:
        first, second = submit(instance, operator), submit(instance, operator, "stop")
        runner.run_due()
        assert (state_of(first), state_of(second)) == (State.SUCCEEDED, State.SUCCEEDED)
        assert list(SimulatedEffect.objects.order_by("id").values_list("kind", flat=True)) == [
            "restart",
            "stop",
        ]

    def test_one_that_only_looks_waits_for_nobody(self, instance: Instance, operator: User) -> None:
        submit(instance, operator)
        submit(instance, operator, "diagnose")
        assert len(engine.claim(owner="a", limit=10)) == 2

    def test_one_that_waits_for_its_next_try_keeps_its_place(
        self, instance: Instance, operator: User
    ) -> None:
        first = submit(instance, operator)
        work = engine.claim(owner="a", limit=1)[0]
        engine.advance({work.id: (work, Failed("net"))})
        submit(instance, operator, "stop")
        assert engine.claim(owner="b", limit=10) == []
        Operation.objects.filter(pk=first.pk).unrecorded_update(run_after=timezone.now())
        assert [w.id for w in engine.claim(owner="b", limit=10)] == [first.pk]

    def test_the_database_itself_refuses_a_second_change(self, instance: Instance, operator: User) -> None:
        submit(instance, operator)
        second = submit(instance, operator, "stop")
        engine.claim(owner="a", limit=1)
        with pytest.raises(IntegrityError, match="operation_one_change_at_a_time"), transaction.atomic():
            Operation.objects.filter(pk=second.pk).unrecorded_update(
                state=State.RUNNING, lease_until=timezone.now()
            )

    @pytest.mark.django_db(transaction=True)
    def test_many_workers_share_many_operations(
        self, instances: Callable[[int], list[Instance]], operator: User
    ) -> None:
        many = instances(20)
        for _ in range(3):
            for one in many:
                submit(one, operator)

        def work() -> None:
            try:
                while Operation.objects.open().exists():
                    runner.run_due(limit=4)
            finally:
                connection.close()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert Operation.objects.filter(state=State.SUCCEEDED).count() == 60
        assert SimulatedEffect.objects.count() == 60


class TestSecondLook:
    def test_a_permission_that_ended_stops_what_waits(self, instance: Instance, operator: User) -> None:
        operation = submit(instance, operator)
        take_grant(Grant.objects.get(user=operator), actor=operator, reason="left the team")
        runner.run_due()
        assert state_of(operation) == State.FAILED
        assert "permission ended" in operation.error
        assert not SimulatedEffect.objects.exists()

    def test_a_lock_set_meanwhile_stops_what_waits(self, instance: Instance, operator: User) -> None:
        operation = submit(instance, operator)
        with as_system():
            Instance.objects.filter(pk=instance.pk).update(locked_reason="legal hold")
        runner.run_due()
        assert state_of(operation) == State.FAILED
        assert "legal hold" in operation.error

    def test_a_target_that_is_gone_ends_it(self, instance: Instance, operator: User) -> None:
        operation = submit(instance, operator)
        with as_system():
            instance.delete()
        runner.run_due()
        assert "not there any more" in operation.error if state_of(operation) == State.FAILED else False


class TestReconciler:
    def test_it_nudges_for_what_stands_still(
        self, instance: Instance, operator: User, nudges: list[int]
    ) -> None:
        submit(instance, operator)
        assert upkeep.reconcile()
        assert nudges[-1:] == [200]

    def test_it_is_quiet_when_nothing_is_due(
        self, instance: Instance, operator: User, nudges: list[int]
    ) -> None:
        submit(instance, operator)
        engine.claim(owner="a", limit=1)
        submit(instance, operator, "stop")  # waits for the one that runs: nothing to nudge for
        assert not upkeep.reconcile()
        assert nudges == []

    def test_it_sees_a_worker_that_died(self, instance: Instance, operator: User) -> None:
        submit(instance, operator)
        engine.claim(owner="a", limit=1)
        expire_leases()
        assert upkeep.reconcile()
