"""Machines whose clocks differ: each time is the database's, whoever reads it."""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from apps.access.models import User
from apps.fleet.choices import Fault
from apps.fleet.models import Instance, SimulatedInstance
from apps.operations import engine, runner, services, upkeep
from apps.operations.choices import State
from apps.operations.kinds import Failed
from apps.operations.models import Operation
from tests.factories import grant, make_user


def submit(instance: Instance, actor: User, kind: str = "restart") -> Operation:
    return services.submit(kind=kind, target_id=instance.pk, actor=actor, reason="it hangs")


@pytest.fixture
def shift(monkeypatch: pytest.MonkeyPatch):
    """Put this machine's clock forward or back."""
    real = timezone.now

    def put(seconds: float) -> None:
        def now() -> datetime:
            return real() + timedelta(seconds=seconds)

        monkeypatch.setattr(timezone, "now", now)

    return put


def test_a_web_server_that_is_ahead_does_not_put_work_off(shift, instance: Instance, operator: User) -> None:
    shift(600)
    submit(instance, operator)
    assert len(engine.claim(owner="a", limit=1)) == 1


def test_nor_does_it_by_an_approval(shift, instance: Instance, operator: User, cell: object) -> None:
    operation = submit(instance, operator)
    Operation.objects.filter(pk=operation.pk).unrecorded_update(state=State.AWAITING_APPROVAL)
    approver = make_user()
    grant(approver, "admin", "cell", cell)
    shift(600)
    services.approve(operation, actor=approver)
    assert len(engine.claim(owner="a", limit=1)) == 1


def test_nor_by_a_cancel(shift, instance: Instance, operator: User) -> None:
    operation = submit(instance, operator)
    work = engine.claim(owner="a", limit=1)[0]
    engine.advance({work.id: (work, Failed("net"))})
    shift(600)
    cancelled = services.cancel(operation, actor=operator, reason="wrong one")
    assert isinstance(cancelled.run_after, datetime)
    assert len(engine.claim(owner="b", limit=1)) == 1


def test_a_worker_that_is_ahead_gives_a_step_its_whole_time(
    shift, instance: Instance, operator: User
) -> None:
    SimulatedInstance.objects.filter(pk=instance.pk).update(fault=Fault.SLOW, fault_value=0.5)
    operation = submit(instance, operator)
    works = runner._round(runner._round(engine.claim(owner="a", limit=1)))
    assert works[0].step == 2
    Operation.objects.filter(pk=operation.pk).unrecorded_update(lease_until=operation.created_at)
    shift(120)  # another worker takes over, in the middle of the wait
    runner.run_due()
    operation.refresh_from_db()
    assert operation.state == State.SUCCEEDED, operation.error


@pytest.mark.parametrize("seconds", [-600, 600])
def test_the_reconciler_judges_by_the_databases_clock(
    shift, seconds: float, instance: Instance, operator: User
) -> None:
    submit(instance, operator)
    shift(seconds)
    assert upkeep.reconcile()
    engine.claim(owner="a", limit=1)
    assert not upkeep.reconcile()


def test_what_only_looks_is_nudged_for_beside_a_change(instance: Instance, operator: User) -> None:
    submit(instance, operator)
    engine.claim(owner="a", limit=1)
    submit(instance, operator, "diagnose")
    assert upkeep.reconcile()


def test_a_change_is_nudged_for_beside_what_only_looks(instance: Instance, operator: User) -> None:
    submit(instance, operator, "diagnose")
    engine.claim(owner="a", limit=1)
    submit(instance, operator)
    assert upkeep.reconcile()
