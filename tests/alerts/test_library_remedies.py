"""Each remedy of the library is what a recovery policy may answer with: its runbook runs on defaults, as operations."""

from __future__ import annotations

import pytest

from apps.access.models import User
from apps.alerts import recovery
from apps.alerts.models import RecoveryDecision, Runbook, RunbookRun
from apps.alerts.runbooks import keeping, running
from apps.fleet.models import Cell, Diagnostics, Instance, Placement, SimulatedInstance
from apps.fleet.remedies import moving
from apps.operations import runner
from apps.operations.models import Operation
from tests.alerts.conftest import fail, make_recovery, mend, recover
from tests.factories import make_instance, make_tenant, place


@pytest.fixture
def one(cell: Cell) -> Instance:
    """With a tenant, and another instance that could take it."""
    made = make_instance("one", cell=cell)
    place(make_tenant("acme"), made)
    make_instance("spare", cell=cell)
    return made


def answered(boss: User, name: str, one: Instance) -> RunbookRun:
    """The policy's runbook runs on what fails, to the end of its operations."""
    keeping.take_over_library()
    make_recovery(boss, remedy="runbook", runbook=Runbook.objects.get(name=name), grace=600)
    fail(one)
    assert recover() == 1
    run = RunbookRun.objects.get()
    for _ in range(6):
        running.advance()
        runner.run_due()
    run.refresh_from_db()
    return run


def kinds() -> list[tuple[str, str]]:
    return list(Operation.objects.order_by("id").values_list("kind", "state"))


class TestByRecovery:
    def test_clear_disk(self, boss: User, one: Instance) -> None:
        answered(boss, "clear-disk", one)
        assert kinds()[:2] == [("diagnose", "succeeded"), ("clear_disk", "succeeded")]
        assert SimulatedInstance.objects.get(instance=one).disk == 0
        assert {o.actor.username for o in Operation.objects.all()} == {"system:recovery"}

    def test_drain_and_move(self, boss: User, one: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(moving, "DRAIN", 0.0)
        run = answered(boss, "drain-and-move", one)
        assert (run.state, run.error) == ("succeeded", "")
        assert ("move", "succeeded") in kinds()
        assert Placement.objects.get().instance.name == "spare"
        one.refresh_from_db()
        assert one.wanted == "stopped"
        mend(one)  # stopped on purpose is no alert
        recovery.see_results()
        assert RecoveryDecision.objects.get().state == "helped"

    def test_scale(self, boss: User, one: Instance) -> None:
        answered(boss, "scale", one)
        assert kinds() == [("scale", "succeeded")]
        assert SimulatedInstance.objects.get(instance=one).workers == 32

    def test_run_a_command(self, boss: User, one: Instance) -> None:
        """The simulated world has no `errors`: refused with what there is, and nothing done."""
        run = answered(boss, "run-a-command", one)
        assert run.state == "failed"
        assert "there are: effects, status" in run.error

    def test_rotate_certificate(self, boss: User, one: Instance) -> None:
        run = answered(boss, "rotate-certificate", one)
        assert "serves no certificate" in run.error


def test_a_command_by_hand(boss: User, one: Instance) -> None:
    keeping.take_over_library()
    run = running.start(
        runbook=Runbook.objects.get(name="run-a-command"), instance=one, actor=boss, reason="to see", key="k",
        inputs={"command": "effects", "arguments": "last=5"},
    )  # fmt: skip
    for _ in range(3):
        running.advance()
        runner.run_due()
    run.refresh_from_db()
    assert (run.state, run.error) == ("succeeded", "")
    assert Diagnostics.objects.get().parts["command"] == "effects last=5"
