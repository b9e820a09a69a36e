"""Both providers behind one face, so that the contract's tests run over each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from apps.fleet.providers.base import Observation, Provider, Target
from apps.fleet.providers.local.provider import LocalProvider

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


@pytest.fixture
def simulated_stage(transactional_db: None) -> Stage:
    from apps.accounts.models import Account, Region
    from apps.fleet.models import Cell, Instance
    from apps.fleet.providers.simulated import SimulatedProvider

    account = Account.objects.create(name="account-1")
    region = Region.objects.create(account=account, name="region-1")
    cell = Cell.objects.create(region=region, name="cell-1", provider="simulated")

    def target(name: str) -> Target:
        made, _ = Instance.objects.get_or_create(
            name=name, defaults={"cell": cell, "wanted_version": VERSIONS[0]}
        )
        return Target(made.pk, name, "cell-1", VERSIONS[0], ("acme", "globex"))

    return Stage(SimulatedProvider(), target)


@pytest.fixture(params=["local", "simulated"])
def stage(request: pytest.FixtureRequest) -> Stage:
    return request.getfixturevalue(f"{request.param}_stage")
