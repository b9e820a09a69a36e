"""Versions drawn at random before the real gate, in a real rollout: the faulty end with the canary, the fine go on."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from apps.access.models import User
from apps.fleet.models import Cell, Instance
from apps.operations.models import Operation
from apps.releases.benches.trials import FAULTS, canary_of, play
from apps.releases.choices import RolloutState, Verdict
from tests.factories import as_system

Fleet = Callable[[int], list[Instance]]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ids(fleet: Fleet, cell: Cell) -> list[int]:
    """Thirty instances that keep metrics; nothing is deployed to them."""
    found = [one.pk for one in fleet(30)]
    with as_system():
        Cell.objects.update(provider="local")
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_version_touches_its_canary_alone(ids: list[int], boss: User, fault: str) -> None:
    chance = random.Random(fault)
    for number in range(3):
        played = play(ids, f"2.0.{number}", boss, chance, fault)
        assert played.state == RolloutState.ABORTED
        assert played.verdict == Verdict.FAIL
        assert played.touched <= canary_of(ids)
    assert not Operation.objects.exists()


def test_fine_versions_with_noisy_figures_are_let_through(ids: list[int], boss: User) -> None:
    chance = random.Random(7)
    verdicts = [play(ids, f"3.0.{number}", boss, chance, "").verdict for number in range(10)]
    assert verdicts.count(Verdict.FAIL) == 0
    assert verdicts.count(Verdict.PASS) >= 8
