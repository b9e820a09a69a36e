"""Each kind of operation has a permission and a preview, and each of its steps is safe to repeat."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.access.choices import Permission
from apps.core.context import acting
from apps.core.models import Event
from apps.fleet.models import Diagnostics, Instance, Placement, SimulatedEffect, SimulatedInstance
from apps.operations.kinds import Done, Kind, Step, Work, kinds
from tests import factories

#: Parameters with which each kind makes sense; a kind without an entry takes none.
PARAMS: dict[str, dict[str, Any]] = {
    "deploy": {"version": "1.1.0"},
    "scale": {"workers": "4"},
    "move": {"to": "any"},
    "run_command": {"command": "status"},
}
#: Kinds for which the simulated world has nothing to act on, and where their second run is tested.
ON_REAL_THINGS = {"rotate_certificate": "real processes: tests/fleet/test_certificates.py"}
EVERY_KIND = pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.name)


@EVERY_KIND
class TestEachKind:
    def test_it_has_a_permission_of_ours(self, kind: Kind) -> None:
        assert kind.permission in Permission.values
        assert kind.permission != Permission.VIEW, "to look is not to do"

    def test_its_preview_names_the_target_and_what_happens(self, kind: Kind) -> None:
        told = kind.preview("northwind-prod", PARAMS.get(kind.name, {}))
        assert "northwind-prod" in told
        assert len(told.split()) >= 4
        for value in PARAMS.get(kind.name, {}).values():
            assert value in told, "what was asked for is told"

    def test_it_refuses_parameters_it_does_not_know(self, kind: Kind) -> None:
        good = PARAMS.get(kind.name, {})
        assert kind.check_params(good) == good
        if not good:
            with pytest.raises(ValueError, match="no parameters"):
                kind.check_params({"colour": "red"})
        for name in good:
            with pytest.raises(ValueError):
                kind.check_params({**good, name: ""})

    def test_its_numbers_make_sense(self, kind: Kind) -> None:
        assert kind.steps
        assert kind.label
        assert kind.max_attempts >= 1
        assert all(step.timeout > 0 for step in (*kind.steps, *kind.undo))
        assert len({step.name for step in kind.steps}) == len(kind.steps)


@pytest.fixture
def instance(db: None) -> Instance:
    """On a simulated cell, where other instances run the versions that a deploy may choose from."""
    made = factories.make_instance()
    factories.make_instance(cell=made.cell, version="1.1.0")
    factories.place(factories.make_tenant(), made)
    factories.make_instance("spare", cell=made.cell)
    return made


def work_on(instance: Instance, kind: Kind) -> Work:
    now = timezone.now()
    return Work(
        id=7, kind=kind.name, target_type="instance", target_id=instance.pk, target_label=instance.name, account_id=None,
        cell_id=None, tenant_id=None, actor_id=1, reason="x", params=dict(PARAMS.get(kind.name, {})), notes={}, step=0,
        is_undoing=False, attempts=0, fence=1, failure="", step_started_at=now, started_at=now,
    )  # fmt: skip


def run(step: Step, work: Work) -> Done:
    """Run a step until it is done; what it notes is kept, as the engine keeps it."""
    for _ in range(30):
        outcome = step.run([work])[work.id]
        if isinstance(outcome, Done):
            work.notes.update(outcome.notes)
            return outcome
        if "finished" in getattr(outcome, "detail", ""):  # a drain: likewise
            work.step_started_at = timezone.now() - timedelta(seconds=60)
        waited = work.notes.get("healthy_since")
        if waited:  # a soak: let its time have passed
            work.notes["healthy_since"] = (timezone.now() - timedelta(seconds=60)).isoformat()
    raise AssertionError(f"{step.name} does not end: {outcome}")


def reality(instance: Instance) -> tuple[Any, ...]:
    """What a step could have done to the simulated world, and to the rows of ours."""
    world = SimulatedInstance.objects.filter(instance__cell=instance.cell_id).values_list(
        "state", "version", "generation", "effects", "workers", "disk"
    )
    wish = Instance.objects.filter(pk=instance.pk).values_list("wanted", "wanted_version", "workers")
    placed = Placement.objects.order_by("pk").values_list("pk", "instance_id", "tenant_id")
    told = Event.objects.filter(kind__startswith="tenant.").count()
    effects = SimulatedEffect.objects.filter(instance=instance).count()
    return (
        list(world.order_by("pk")),
        list(wish),
        list(placed),
        told,
        effects,
        Diagnostics.objects.filter(instance=instance).count(),
    )


@EVERY_KIND
@pytest.mark.parametrize("way", ["steps", "undo"])
def test_each_step_run_twice_has_no_second_effect(kind: Kind, way: str, instance: Instance) -> None:
    """As when a worker dies after the effect and before it could write that it was done."""
    if kind.name in ON_REAL_THINGS:
        pytest.skip(ON_REAL_THINGS[kind.name])
    with acting(factories.make_user(superuser=True), reason="x"):
        if kind.name == "start":
            SimulatedInstance.objects.filter(instance=instance).update(state="stopped")
        work = work_on(instance, kind)
        before = reality(instance)
        steps = kind.steps if way == "steps" else (*kind.steps[: kind.undo_from + 1], *kind.undo)
        for step in steps:
            kept = dict(work.notes)
            run(step, work)
            once = reality(instance)
            work.notes = (
                kept if step.name != "look" else work.notes
            )  # the second worker knows what was written down
            run(step, work)
            assert reality(instance) == once, f"{step.name} acted twice"
    if way == "steps":
        assert reality(instance) != before, f"{kind.name} did nothing at all"


@EVERY_KIND
def test_repeating_a_whole_operation_that_is_done_changes_nothing_but_a_restart(
    kind: Kind, instance: Instance
) -> None:
    if kind.name in ("restart", "diagnose", "run_command"):
        pytest.skip("asked for again, it is to be done again")
    if kind.name == "move":
        pytest.skip("asked for again there is nothing to move: tests/fleet/test_remedies.py")
    if kind.name in ON_REAL_THINGS:
        pytest.skip(ON_REAL_THINGS[kind.name])
    with acting(factories.make_user(superuser=True), reason="x"):
        for step in kind.steps:
            run(step, work := work_on(instance, kind)) if step is kind.steps[0] else run(step, work)
        done = reality(instance)
        for step in kind.steps:
            run(step, again := work_on(instance, kind)) if step is kind.steps[0] else run(step, again)
        assert reality(instance) == done
