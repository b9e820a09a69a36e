"""⌘K finds instances and cells, only those that the reader sees."""

import pytest

from apps.core import palette
from apps.fleet.search import find_cells, find_instances
from tests.factories import make_instance

from .conftest import World


def labels(user: object, text: str) -> list[str]:
    return [hit.label for hit in find_instances(user, text, 12)]


@pytest.mark.parametrize("text", ["northwind-prod", "NORTH", "wind-p", "nortwind-prod", "northwnid"])
def test_it_finds_by_name_part_and_mistyped(world: World, text: str) -> None:
    assert labels(world.operator, text) == ["northwind-prod"]


def test_it_finds_by_id(world: World) -> None:
    assert labels(world.operator, str(world.one.pk)) == ["northwind-prod"]
    assert labels(world.operator, f"#{world.one.pk}") == ["northwind-prod"]
    assert labels(world.operator, "9" * 30) == []


def test_the_exact_one_comes_first(world: World) -> None:
    for number in range(20):
        make_instance(f"a-{number}", cell=world.cell)
    make_instance("a", cell=world.cell)
    assert labels(world.operator, "a")[0] == "a"


@pytest.mark.parametrize("text", ["globex-prod", "globex", "glbex-prod", "%", "_", "\\", "'"])
def test_it_finds_nothing_elsewhere(world: World, text: str) -> None:
    assert labels(world.operator, text) == []
    assert labels(world.nobody, text) == []


def test_cells(world: World) -> None:
    assert [hit.label for hit in find_cells(world.operator, "eu-west", 12)] == ["eu-west-1a"]
    assert [hit.label for hit in find_cells(world.operator, "eu-wset-1a", 12)] == ["eu-west-1a"]
    assert find_cells(world.operator, "us-east-2a", 12) == []


def test_it_is_registered(world: World) -> None:
    assert "northwind-prod" in [hit.label for hit in palette.search(world.operator, "northwind-prod")]
