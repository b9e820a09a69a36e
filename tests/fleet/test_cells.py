"""Cells: how full and how well."""

from collections.abc import Callable

from django.test import Client
from django.urls import reverse

from tests.factories import make_cell, make_instance

from .conftest import World
from .test_overview import squeezed

LIST = "/cells/"


def test_it_lists_visible_cells_with_what_they_hold(world: World, as_user: Callable[..., Client]) -> None:
    make_instance("bad", cell=world.cell, health="failing")
    response = as_user(world.operator).get(LIST)
    (row,) = response.context["table"].paginated_rows
    assert (row.record.name, row.record.board.total, row.record.board.wrong) == ("eu-west-1a", 2, 1)
    assert row.record.versions == [("1.0.0", 2)]


def test_csv(world: World, as_user: Callable[..., Client]) -> None:
    response = as_user(world.operator).get(LIST, {"_export": "csv"})
    lines = b"".join(response.streaming_content).decode().splitlines()
    assert lines[1].startswith("eu-west-1a,1 of 1 well,1/100,1.0.0 ×1,acme,")


def test_page_tells_lock_capacity_and_what_is_wrong(world: World, as_user: Callable[..., Client]) -> None:
    cell = make_cell(
        "locked-cell", account=world.cell.region.account, capacity=4, locked_reason="moving racks"
    )
    make_instance("bad", cell=cell, health="failing", health_detail="port closed")
    text = as_user(world.operator).get(reverse("fleet:cell", args=[cell.pk])).content.decode()
    for part in ("moving racks", "port closed", "1 of 4 instances"):
        assert part in text


def test_live_part_is_the_part_of_the_page(world: World, as_user: Callable[..., Client]) -> None:
    client, url = as_user(world.operator), reverse("fleet:cell", args=[world.cell.pk])
    part = squeezed(client.get(url, headers={"HX-Request": "true"}).content.decode())
    assert part in squeezed(client.get(url).content.decode())


def test_queries_do_not_grow(
    world: World, as_user: Callable[..., Client], queries: Callable[..., int]
) -> None:
    client = as_user(world.operator)
    page = reverse("fleet:cell", args=[world.cell.pk])
    few, few_page = queries(lambda: client.get(LIST)), queries(lambda: client.get(page))
    for number in range(20):
        make_cell(f"cell-{number}", account=world.cell.region.account)
        make_instance(f"i-{number}", cell=world.cell)
    assert queries(lambda: client.get(LIST)) == few <= 10
    assert queries(lambda: client.get(page)) == few_page <= 10
