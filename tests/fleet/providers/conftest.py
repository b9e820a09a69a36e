"""Both providers behind one face, so that the contract's tests run over each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import QuerySet

from apps.fleet.providers.base import Observation, Provider, Target
from apps.fleet.providers.local.provider import LocalProvider

T = TypeVar("T")
VERSIONS = ("1.0.0", "1.1.0")


@dataclass
class Stage:
    """A provider and the means to make targets in it."""

    provider: Provider
    target: Callable[[str], Target]

    def until(self, target: Target, wish: Callable[[Observation], bool], seconds: float = 8.0) -> Observation:
        """Look until the wish is true, and return what was seen; fails with the last look."""
        deadline = time.monotonic() + seconds
        while not wish(seen := self.provider.observe(target)):
            assert time.monotonic() < deadline, seen
            time.sleep(0.02)
        return seen

    def well(self, target: Target) -> Observation:
        return self.until(target, lambda seen: seen.healthy)

    def deployed(self, name: str = "inst-1", version: str = VERSIONS[0]) -> Target:
        target = self.target(name)
        self.provider.apply(target, version=version)
        self.well(target)
        return target


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalProvider]:
    """A local fleet in a new directory; whatever was started is ended."""
    provider = LocalProvider(tmp_path / "fleet")
    provider.prepare()
    for version in VERSIONS:
        provider.install_version(version)
    yield provider
    provider.stop_all()
    assert provider.running() == []


@pytest.fixture
def local_stage(local: LocalProvider) -> Stage:
    ids: dict[str, int] = {}

    def target(name: str) -> Target:
        return Target(ids.setdefault(name, len(ids) + 1), name, "cell-1", VERSIONS[0], ("acme", "globex"))

    return Stage(local, target)


class World:
    """An account, a region and a cell for simulated instances, and the instances made in it.

    Rows that a provider finds and nobody made: a plain queryset writes them and asks for no actor.
    """

    def __init__(self) -> None:
        from apps.accounts.models import Account, Region
        from apps.fleet.models import Cell

        name = f"world-{uuid4().hex[:12]}"
        self.account = Account(name=name, cloud="aws")
        self.region = Region(account=self.account, code="r1")
        self.cell = Cell(region=self.region, name=name, provider="simulated")
        self.ids: dict[str, int] = {}
        for row in (self.account, self.region, self.cell):
            QuerySet(type(row)).bulk_create([row])

    def target(self, name: str) -> Target:
        from apps.fleet.models import Instance

        if name not in self.ids:
            instance = Instance(cell=self.cell, name=f"{self.cell.name}-{name}", wanted_version=VERSIONS[0])
            self.ids[name] = QuerySet(Instance).bulk_create([instance])[0].pk
        return Target(self.ids[name], name, self.cell.name, VERSIONS[0], ("acme", "globex"))

    def end(self) -> None:
        """Remove the rows; only for a world that was committed."""
        ids = list(self.ids.values())
        with connection.cursor() as cursor:
            for table in ("fleet_simulatedeffect", "fleet_simulatedinstance"):
                cursor.execute(f"DELETE FROM {table} WHERE instance_id = ANY(%s)", [ids])
            cursor.execute("DELETE FROM fleet_instance WHERE id = ANY(%s)", [ids])
            cursor.execute("DELETE FROM fleet_cell WHERE id = %s", [self.cell.pk])
            cursor.execute("DELETE FROM accounts_region WHERE id = %s", [self.region.pk])
            cursor.execute("DELETE FROM accounts_account WHERE id = %s", [self.account.pk])


def elsewhere(*calls: Callable[[], T]) -> list[T]:
    """What the calls return, each made in a thread of its own: with its own, committing, connection."""

    def made(call: Callable[[], T]) -> T:
        try:
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(made, call) for call in calls]]


@pytest.fixture
def simulated_stage(db: None) -> Stage:
    from apps.fleet.providers.simulated import SimulatedProvider

    return Stage(SimulatedProvider(), World().target)


@pytest.fixture
def committed(db: None) -> Iterator[Stage]:
    """Like `simulated_stage`, but seen by other connections; the test changes it by `elsewhere` alone.

    Not by `transactional_db`, which empties every table of the project after each test.
    """
    from apps.fleet.providers.simulated import SimulatedProvider

    (world,) = elsewhere(World)
    yield Stage(SimulatedProvider(), lambda name: elsewhere(lambda: world.target(name))[0])
    elsewhere(world.end)


@pytest.fixture(params=["local", pytest.param("simulated", marks=pytest.mark.django_db)])
def stage(request: pytest.FixtureRequest) -> Stage:
    return request.getfixturevalue(f"{request.param}_stage")
