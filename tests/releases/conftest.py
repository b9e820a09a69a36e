"""A small simulated fleet, releases, and a way to let a rollout run to its end in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from apps.access.models import User
from apps.fleet import kinds
from apps.fleet.models import Cell, Instance, SimulatedInstance
from apps.fleet.probing import probe_simulated
from apps.operations import runner, services
from apps.releases import driving
from apps.releases.choices import Life
from apps.releases.models import Release, Rollout
from apps.releases.rollouts import prepare_rollout, steer
from tests.factories import as_system, grant, make_cell, make_instance, make_tenant, make_user, place


@pytest.fixture(autouse=True)
def nudges(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing goes out to the queue, and a deployment is watched for no time at all."""
    monkeypatch.setattr(services, "nudge", lambda count=1: None)
    monkeypatch.setattr(kinds, "SOAK", 0.0)
    monkeypatch.setattr(kinds, "LOOK", 0.0)
    yield


@pytest.fixture
def cell(db: None) -> Cell:
    return make_cell("cell-1")


@pytest.fixture
def boss(db: None) -> User:
    """May do everything, by an admin's grant."""
    user = make_user("boss")
    grant(user, "admin")
    return user


@pytest.fixture
def second(db: None) -> User:
    """Another admin: the second person."""
    user = make_user("second")
    grant(user, "admin")
    return user


def make_release(version: str = "2.0.0", *, life: str = Life.RELEASED, **fields: Any) -> Release:
    with as_system():
        return Release.objects.create(version=version, life=life, **fields)


@pytest.fixture
def release(db: None) -> Release:
    return make_release()


@pytest.fixture
def fleet(cell: Cell) -> Callable[[int], list[Instance]]:
    """So many instances, a tenant of its own on each."""

    def make(count: int) -> list[Instance]:
        made = []
        for number in range(count):
            instance = make_instance(f"i-{number:03}", cell=cell)
            place(make_tenant(f"t-{number:03}"), instance)
            made.append(instance)
        return made

    return make


def start(release: Release, boss: User, **options: Any) -> Rollout:
    """A rollout over everything, prepared and started; its waves are not watched."""
    values = {"canary": "1", "growth": 3, "bake_seconds": 0, "concurrency": 50, **options}
    rollout = Rollout(release=release, reason="a test asks for it", **values)
    prepare_rollout(rollout, actor=boss)
    steer(rollout, "start", actor=boss, reason="a test starts it")
    return rollout


def run(rollout: Rollout, *, steps: int = 60) -> Rollout:
    """Drive a rollout with the engine until it stands still."""
    before: Any = None
    for _ in range(steps):
        driving.advance_all()
        runner.run_due()
        probe_simulated()
        rollout.refresh_from_db()
        now = (
            rollout.state,
            list(rollout.targets.values_list("state", "attempt")),
            list(rollout.waves.values_list("state")),
        )
        if now == before:
            break
        before = now
    return rollout


def crash_on(version: str, instances: list[Instance] | None = None) -> None:
    """Order that a version ends as it boots."""
    rows = SimulatedInstance.objects.all()
    if instances is not None:
        rows = rows.filter(instance__in=instances)
    rows.update(crash_on_version=version)
