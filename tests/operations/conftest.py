"""A small simulated fleet and its operator; the queue is left out, tests run workers' loops themselves."""

from collections.abc import Callable, Iterator

import pytest

from apps.access.models import User
from apps.fleet.models import Cell, Instance
from apps.operations import services, upkeep
from tests.factories import grant, make_cell, make_instance, make_user


@pytest.fixture(autouse=True)
def nudges(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """What was nudged; nothing goes out."""
    sent: list[int] = []
    for module in (services, upkeep):
        monkeypatch.setattr(module, "nudge", lambda count=1: sent.append(count))
    yield sent


@pytest.fixture
def cell(db: None) -> Cell:
    return make_cell("cell-1")


@pytest.fixture
def instance(cell: Cell) -> Instance:
    return make_instance("one", cell=cell)


@pytest.fixture
def operator(cell: Cell) -> User:
    user = make_user("olga")
    grant(user, "operator", "cell", cell)
    return user


@pytest.fixture
def instances(cell: Cell) -> Callable[[int], list[Instance]]:
    return lambda count: [make_instance(cell=cell) for _ in range(count)]
