"""Scale, clear disk, run a command, drain and move: as operations on real processes, done twice, killed, taken back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.access.models import User
from apps.core.models import Event
from apps.fleet.models import Cell, Diagnostics, Instance, Placement, SimulatedInstance
from apps.fleet.remedies import clearing, commanding, moving, placing, scaling
from apps.operations import kinds, runner, services
from apps.operations.kinds import Later, Step
from apps.operations.models import Operation
from apps.tenants.models import Tenant
from tests.factories import (
    as_system,
    grant,
    make_account,
    make_cell,
    make_instance,
    make_tenant,
    make_user,
    place,
)
from tests.fleet.local import Local, wait_for


def ask(kind: str, instance: Instance, actor: User, **params: object) -> Operation:
    return services.submit(
        kind=kind, target_id=instance.pk, params=params, actor=actor, reason="it has to be"
    )


def end(operation: Operation) -> Operation:
    """Run until it has ended: a drain waits for some seconds."""
    runner.run_due()
    operation.refresh_from_db()
    return operation


class Dies(BaseException):
    """A worker's death."""


def die_in(monkeypatch: pytest.MonkeyPatch, kind: kinds.Kind, step: int, *, undo: bool = False) -> None:
    """Once the step of this number has acted, its worker dies before it can write that down."""
    steps = kind.undo if undo else kind.steps
    real = steps[step].run

    def deadly(works: Any) -> Any:
        outcomes = real(works)
        if all(isinstance(o, Later) for o in outcomes.values()):
            return outcomes
        monkeypatch.setitem(kinds._kinds, kind.name, kind)
        raise Dies

    changed = tuple(Step(s.name, deadly, s.timeout) if n == step else s for n, s in enumerate(steps))
    monkeypatch.setitem(
        kinds._kinds, kind.name, replace(kind, undo=changed) if undo else replace(kind, steps=changed)
    )


def survive(operation: Operation) -> Operation:
    """Its worker dies; another takes over."""
    with pytest.raises(Dies):
        runner.run_due()
    Operation.objects.filter(pk=operation.pk).unrecorded_update(
        lease_until=timezone.now() - timedelta(seconds=1)
    )
    return end(operation)


class Moves:
    """Two real instances: `source` with its tenants, and `to`."""

    def __init__(self, local: Local, *, kind: str = "shared") -> None:
        self.local = local
        self.source, self.to = local.instance("source"), local.instance("to")
        with as_system():
            Instance.objects.update(kind=kind)
        self.tenants = [make_tenant("acme"), make_tenant("globex")][: 2 if kind == "shared" else 1]
        for tenant in self.tenants:
            place(tenant, self.source)
        local.provider.place(local.target(self.source))
        for one in (self.source, self.to):
            one.refresh_from_db()

    def served_by(self, instance: Instance) -> set[str]:
        keys = [tenant.key for tenant in self.tenants]
        return self.local.provider.serves(self.local.target(instance), keys)

    def placed_on(self, instance: Instance) -> set[str]:
        return set(Placement.objects.filter(instance=instance).values_list("tenant__key", flat=True))

    def move(self, to: str = "any") -> Operation:
        return end(ask("move", self.source, self.local.operator, to=to))

    def has_moved(self) -> None:
        keys = {tenant.key for tenant in self.tenants}
        assert (self.placed_on(self.source), self.placed_on(self.to)) == (set(), keys)
        assert self.served_by(self.to) == keys
        self.source.refresh_from_db()
        assert self.source.wanted == "stopped"
        assert self.local.provider.observe(self.local.target(self.source)).state == "stopped"
        for tenant in self.tenants:
            assert Event.objects.filter(kind="tenant.moved", tenant_id=tenant.pk).count() == 1

    def is_at_home(self) -> None:
        keys = {tenant.key for tenant in self.tenants}
        assert (self.placed_on(self.source), self.placed_on(self.to)) == (keys, set())
        wait_for(lambda: self.served_by(self.source) == keys)
        self.source.refresh_from_db()
        assert self.source.wanted == "running"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "DRAIN", 0.3)


class TestMove:
    def test_tenants_are_served_there_and_the_old_one_stops(self, local: Local) -> None:
        moves = Moves(local)
        operation = moves.move()
        assert (operation.state, operation.error) == ("succeeded", "")
        assert operation.notes["to_name"] == "to"
        moves.has_moved()

    def test_a_dead_one_is_moved_too(self, local: Local) -> None:
        moves = Moves(local, kind="dedicated")
        local.provider.stop(local.target(moves.source))
        assert moves.move("to").state == "succeeded"
        moves.has_moved()

    def test_one_that_is_not_served_there_is_taken_back(
        self, local: Local, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        moves = Moves(local)
        monkeypatch.setattr(moving, "PATIENCE", 0.5)
        asked = ask("move", moves.source, local.operator, to="to")
        local.provider.stop(local.target(moves.to))  # after it was chosen for being well
        operation = end(asked)
        assert operation.state == "failed"
        assert "does not serve acme, globex" in operation.error
        moves.is_at_home()

    @pytest.mark.parametrize("step", range(6), ids=lambda n: moving.MOVE.steps[n].name)
    def test_killed_in_the_middle_of_each_step(
        self, local: Local, monkeypatch: pytest.MonkeyPatch, step: int
    ) -> None:
        moves = Moves(local)
        asked = ask("move", moves.source, local.operator, to="any")
        die_in(monkeypatch, moving.MOVE, step)
        assert (survive(asked).state, asked.error) == ("succeeded", "")
        moves.has_moved()

    @pytest.mark.parametrize("step", range(2), ids=lambda n: moving.MOVE.undo[n].name)
    def test_killed_on_the_way_back(self, local: Local, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
        moves = Moves(local)
        monkeypatch.setattr(moving, "PATIENCE", 0.3)
        asked = ask("move", moves.source, local.operator, to="to")
        local.provider.stop(local.target(moves.to))
        die_in(monkeypatch, moving.MOVE, step, undo=True)
        assert survive(asked).state == "failed"
        moves.is_at_home()

    def test_who_was_there_before_stays_when_it_is_taken_back(
        self, local: Local, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        moves = Moves(local)
        place(moves.tenants[0], moves.to)
        monkeypatch.setattr(moving, "PATIENCE", 0.3)
        asked = ask("move", moves.source, local.operator, to="to")
        local.provider.stop(local.target(moves.to))
        assert end(asked).state == "failed"
        assert moves.placed_on(moves.to) == {"acme"}

    def test_again_there_is_nothing_to_move(self, local: Local) -> None:
        moves = Moves(local)
        moves.move()
        with pytest.raises(services.Refused, match="nothing to move"):
            moves.move()


@pytest.fixture
def olga(db: None) -> User:
    return make_user("olga")


class TestWhereTo:
    """Guard rails of a move, in the simulated world."""

    def pair(self, olga: User, **there: Any) -> tuple[Instance, Instance]:
        account = make_account()
        grant(olga, "operator", "account", account)
        cell = make_cell(account=account)
        source = make_instance("source", cell=cell)
        place(make_tenant(), source)
        where = there.pop("cell", None) or make_cell(account=there.pop("account", account))
        return source, make_instance("to", cell=where, **there)

    @pytest.mark.parametrize(
        ("there", "why"),
        [
            ({"kind": "shared"}, "is shared, not dedicated"),
            ({"version": "2.0.0"}, "deploy that there first"),
            ({"health": "failing"}, "to is failing"),
            ({"wanted": "stopped", "health": "stopped"}, "to is stopped"),
            ({"locked_reason": "an audit"}, "to is locked: an audit"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, olga: User, there: dict[str, Any], why: str) -> None:
        source, _ = self.pair(olga, **there)
        with pytest.raises(services.Refused, match=why):
            ask("move", source, olga, to="to")
        with pytest.raises(services.Refused, match="there is no another"):
            ask("move", source, olga, to="any")

    def test_another_law_another_account_another_tenant(self, olga: User) -> None:
        source, to = self.pair(olga)
        place(make_tenant(), to)
        with pytest.raises(services.Refused, match="dedicated to another tenant"):
            ask("move", source, olga, to="to")
        with as_system():
            Placement.objects.filter(instance=to).delete()
            to.cell.region.jurisdiction = "US"
            to.cell.region.save()
        with pytest.raises(services.Refused, match="under another law"):
            ask("move", source, olga, to="to")
        far = make_instance("far")
        with pytest.raises(services.Refused, match="no instance “far” that you can see"):
            ask("move", source, olga, to="far")
        grant(olga, "viewer", "account", far.cell.region.account)
        with pytest.raises(services.Refused, match="may not deploy on far"):
            ask("move", source, olga, to="far")
        grant(olga, "operator", "account", far.cell.region.account)
        with pytest.raises(services.Refused, match="lies in another account"):
            ask("move", source, olga, to="far")

    def test_the_same_cell_comes_first_and_the_emptiest(self, olga: User) -> None:
        source, _ = self.pair(olga, kind="shared")
        with as_system():
            Instance.objects.filter(pk=source.pk).update(kind="shared")
        source.refresh_from_db()
        full, near = (make_instance(name, cell=source.cell, kind="shared") for name in ("full", "near"))
        place(make_tenant(), full)
        assert [one.name for one in placing.candidates(source, olga)] == ["near", "full", "to"]
        services.submit(kind="stop", target_id=near.pk, actor=olga, reason="it hangs")
        assert [one.name for one in placing.candidates(source, olga)] == ["full", "to"], (
            "what is changing is busy"
        )

    def test_many_at_once_are_refused(self, olga: User) -> None:
        source, _ = self.pair(olga)
        many = [make_instance(cell=source.cell) for _ in range(moving.MOST + 1)]
        planned = services.plan(
            kind="move", target_ids=[m.pk for m in many], params={"to": "any"}, actor=olga
        )
        assert not planned.accepted
        assert "At most 20" in planned.refused[0].why


class TestScale:
    def test_it_has_them_at_once_and_keeps_them(self, local: Local) -> None:
        one = local.instance("one")
        operation = local.operate("scale", one, workers=4)
        assert (operation.state, operation.error) == ("succeeded", "")
        one.refresh_from_db()
        assert (one.workers, local.provider.workers(local.target(one))) == (4, 4)
        assert local.provider.observe(local.target(one)).generation == 1
        assert local.operate("restart", one).state == "succeeded"
        assert local.provider.workers(local.target(one)) == 4

    @pytest.mark.parametrize("step", range(3))
    def test_killed_in_the_middle(self, local: Local, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
        one = local.instance("one")
        asked = ask("scale", one, local.operator, workers=4)
        die_in(monkeypatch, scaling.SCALE, step)
        assert (survive(asked).state, local.provider.workers(local.target(one))) == ("succeeded", 4)

    def test_one_that_does_not_take_it_is_put_back(
        self, local: Local, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its process hangs, so that it never tells of the new number."""
        monkeypatch.setattr(scaling, "PATIENCE", 0.5)
        one = local.instance("one")
        asked = ask("scale", one, local.operator, workers=4)
        local.provider.stop(local.target(one))
        operation = end(asked)
        one.refresh_from_db()
        assert (operation.state, one.workers) == ("failed", 16)

    @pytest.mark.parametrize("workers", ["0", "65", "many", "-1", "٣", ""])
    def test_a_number_that_makes_no_sense(self, olga: User, workers: str) -> None:
        with pytest.raises(ValueError, match="from 1 to 64"):
            scaling.SCALE.check_params({"workers": workers})


class TestClear:
    def leave(self, local: Local, one: Instance) -> None:
        directory = local.provider.root / "instances" / one.name
        (directory / "log.1.jsonl").write_text('{"segment": 1}\n' + "x" * 3_000_000)

    def test_what_it_freed_is_measured(self, local: Local) -> None:
        one = local.instance("one")
        self.leave(local, one)
        operation = local.operate("clear_disk", one)
        assert operation.state == "succeeded"
        assert operation.notes["bytes_before"] - operation.notes["bytes_after"] >= 3_000_000
        assert "3.0 MB freed" in Event.objects.filter(operation_id=operation.pk).latest("id").why + "".join(
            operation.steps.values_list("detail", flat=True)
        )

    @pytest.mark.parametrize("step", range(3))
    def test_killed_in_the_middle(self, local: Local, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
        one = local.instance("one")
        self.leave(local, one)
        asked = ask("clear_disk", one, local.operator)
        die_in(monkeypatch, clearing.CLEAR, step)
        assert survive(asked).state == "succeeded"
        assert local.provider.disk(local.target(one)).clearable == 0
        assert asked.notes["bytes_before"] - asked.notes["bytes_after"] >= 3_000_000 or step == 0


class TestCommand:
    def test_its_output_is_kept(self, local: Local) -> None:
        one = local.instance("one")
        operation = local.operate("run_command", one, command="errors", arguments="last=5")
        assert (operation.state, operation.error) == ("succeeded", "")
        bundle = Diagnostics.objects.get(operation_id=operation.pk)
        assert bundle.parts["command"] == "errors last=5"
        assert bundle.parts["exit"] == "0"

    def test_killed_in_the_middle_it_is_not_run_twice(
        self, local: Local, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one = local.instance("one")
        asked = ask("run_command", one, local.operator, command="mark", arguments="text=once")
        die_in(monkeypatch, commanding.RUN, 0)
        assert survive(asked).state == "succeeded"
        lines = [line.message for line in local.provider.logs(local.target(one)).lines]
        assert lines.count("mark: once") == 1
        assert Diagnostics.objects.count() == 1

    def test_what_is_not_offered_is_refused_beforehand(self, local: Local) -> None:
        one = local.instance("one")
        for params, why in (
            ({"command": "rm"}, "offers no command"),
            ({"command": "errors", "arguments": "last=9999"}, "from 1 to 500"),
            ({"command": "errors", "arguments": "last=$(id)"}, "is no argument"),
            ({"command": "status; rm"}, "Name the command"),
            ({"command": "status", "shell": "yes"}, "This takes command, arguments"),
        ):
            with pytest.raises(services.Refused, match=why):
                ask("run_command", one, local.operator, **params)

    def test_it_takes_deploying(self, local: Local) -> None:
        from django.core.exceptions import PermissionDenied

        one, who = local.instance("one"), make_user("vera")
        grant(who, "support", "account", local.account)
        with pytest.raises(PermissionDenied):
            ask("run_command", one, who, command="status")


class TestPages:
    def page(self, user: User, path: str, **data: str) -> str:
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return (client.post(path, data) if data else client.get(path)).content.decode()

    def test_each_is_offered_and_previewed(self, olga: User) -> None:
        cell = make_cell()
        grant(olga, "operator", "account", cell.region.account)
        one = make_instance("one", cell=cell)
        place(make_tenant(), one)
        make_instance("spare", cell=cell)
        head = self.page(olga, f"/instances/{one.pk}/")
        for label in ("Scale", "Clear disk", "Drain and move", "Run command", "Rotate certificate"):
            assert label in head
        form = self.page(olga, f"/operations/act/run_command/{one.pk}/?command=status")
        assert "one runs status" in form.replace("&#x27;", "'")
        assert "served by any instance that fits" in self.page(olga, f"/operations/act/move/{one.pk}/?to=any")


class TestSecondRun:
    """The set-wise, simulated second runs of all kinds are in tests/meta/test_kinds.py; here that of a whole move."""

    def test_a_move_between_simulated_ones(self, olga: User, transactional_db: None) -> None:
        cell: Cell = make_cell()
        grant(olga, "operator", "account", cell.region.account)
        one, spare = make_instance("one", cell=cell), make_instance("spare", cell=cell)
        tenant: Tenant = make_tenant()
        place(tenant, one)
        operation = ask("move", one, olga, to="any")
        wait_for(lambda: end(operation).state != "running" and end(operation).state != "pending")
        assert (operation.state, operation.error) == ("succeeded", "")
        assert Placement.objects.get(tenant=tenant).instance == spare
        assert SimulatedInstance.objects.get(instance=one).state == "stopped"
        assert services.plan(kind="move", target_ids=[one.pk], params={"to": "any"}, actor=olga).refused
