"""The accounts' pages: who reaches them, what they show, what they cost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.access.services import system_actor
from apps.core.models import Event
from tests import factories as make

PAGES = ("accounts:account", "accounts:timeline")


@pytest.fixture
def world(db: None) -> SimpleNamespace:
    """Two accounts; acme-eu with two cells and three instances of two tenants, one of them failing."""
    w = SimpleNamespace()
    w.eu = make.make_account("acme-eu", cloud="aws", external_id="111122223333", contact="ops@acme.example")
    w.us = make.make_account("byoc-us", cloud="gcp", owner="customer")
    w.a, w.b = make.make_cell("eu-a", account=w.eu, capacity=4), make.make_cell("eu-b", account=w.eu)
    w.us_a = make.make_cell("us-a", account=w.us)
    w.one, w.two = make.make_tenant("one"), make.make_tenant("two")
    w.first = make.make_instance("first", cell=w.a)
    make.place(w.one, w.first)
    make.place(w.one, make.make_instance("second", cell=w.a, health="failing"))
    make.place(w.two, make.make_instance("third", cell=w.b))
    w.viewer, w.of_eu, w.of_cell, w.nobody = (
        make.make_user(name) for name in ("all", "of-eu", "of-cell", "nobody")
    )
    make.grant(w.viewer, "viewer")
    make.grant(w.of_eu, "operator", "account", w.eu)
    make.grant(w.of_cell, "operator", "cell", w.a)
    return w


def page_of(account: Any, name: str = "accounts:account") -> str:
    return reverse(name, args=[account.pk])


@pytest.mark.parametrize("name", ["accounts:list", *PAGES])
def test_who_reaches_them(client: Client, world: SimpleNamespace, name: str) -> None:
    url = reverse(name, args=[world.eu.pk] if name in PAGES else [])
    assert client.get(url).status_code == 302
    client.force_login(world.nobody)
    assert client.get(url).status_code == 403
    for user in (world.viewer, world.of_eu, world.of_cell):
        client.force_login(user)
        assert client.get(url).status_code == 200
        assert client.post(url).status_code == 405


@pytest.mark.parametrize("name", PAGES)
def test_an_account_out_of_scope_does_not_exist(client: Client, world: SimpleNamespace, name: str) -> None:
    for user in (world.of_eu, world.of_cell):
        client.force_login(user)
        assert client.get(page_of(world.us, name)).status_code == 404
    assert client.get(reverse(name, args=[10**30])).status_code == 404


def test_the_list_counts_what_runs(client: Client, world: SimpleNamespace) -> None:
    client.force_login(world.viewer)
    table = client.get(reverse("accounts:list")).context["table"]
    eu, us = (row.record.holding for row in table.page)
    assert (eu.cells, eu.instances, eu.tenants, eu.by_health, eu.worst) == (
        2, 3, 2, {"failing": 1, "well": 2}, "failing",
    )  # fmt: skip
    assert (us.cells, us.instances, us.tenants, us.worst) == (1, 0, 0, "")
    shown = client.get(reverse("accounts:list")).content.decode()
    for word in (
        "acme-eu",
        "byoc-us",
        "AWS",
        "Google Cloud",
        "Ours",
        "Customer",
        "ops@acme.example",
        "111122223333",
    ):
        assert word in shown, word


def test_the_list_is_narrowed_by_scope(client: Client, world: SimpleNamespace) -> None:
    client.force_login(world.of_cell)
    table = client.get(reverse("accounts:list")).context["table"]
    (eu,) = (row.record for row in table.page)
    assert (eu.name, eu.holding.cells, eu.holding.instances, eu.holding.tenants) == ("acme-eu", 1, 2, 1)
    assert len(eu.region_codes) == 1


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"q": "acme"}, ["acme-eu"]),
        ({"q": "111122223333"}, ["acme-eu"]),
        ({"cloud": "gcp"}, ["byoc-us"]),
        ({"owner": "provider"}, ["acme-eu"]),
        ({"owner": "nonsense"}, []),
        ({"sort": "-name"}, ["byoc-us", "acme-eu"]),
        ({"sort": "cloud"}, ["acme-eu", "byoc-us"]),
    ],
)
def test_the_list_filters_and_sorts(
    client: Client, world: SimpleNamespace, query: dict[str, str], names: list[str]
) -> None:
    client.force_login(world.viewer)
    table = client.get(reverse("accounts:list"), query).context["table"]
    assert [row.record.name for row in table.page] == names


def test_the_list_as_csv(client: Client, world: SimpleNamespace) -> None:
    client.force_login(world.of_eu)
    lines = b"".join(client.get(reverse("accounts:list"), {"_export": "csv"})).decode().splitlines()
    assert len(lines) == 2
    assert "failing=1 well=2" in lines[1]


def test_the_page_tells_cells_and_how_full_they_are(client: Client, world: SimpleNamespace) -> None:
    Event.objects.create(
        kind="test.happened",
        title="quota raised",
        actor_id=system_actor("command").pk,
        account_id=world.eu.pk,
    )
    client.force_login(world.viewer)
    shown = client.get(page_of(world.eu)).content.decode()
    for word in (
        "eu-a",
        "eu-b",
        "2 of 4, 50 %",
        "Failing",
        "quota raised",
        "ops@acme.example",
        "111122223333",
    ):
        assert word in shown, word
    assert "us-a" not in shown


def test_a_cell_out_of_scope_is_not_on_the_page(client: Client, world: SimpleNamespace) -> None:
    client.force_login(world.of_cell)
    shown = client.get(page_of(world.eu)).content.decode()
    assert "eu-a" in shown
    assert "eu-b" not in shown


def test_the_live_part_is_the_part_of_the_page(client: Client, world: SimpleNamespace) -> None:
    client.force_login(world.viewer)
    part = client.get(page_of(world.eu), headers={"HX-Request": "true"}).content.decode()
    assert 'id="live"' in part
    assert "<html" not in part


def test_an_empty_account_says_what_lacks(client: Client, world: SimpleNamespace) -> None:
    client.force_login(world.viewer)
    shown = client.get(page_of(make.make_account("empty"))).content.decode()
    assert "No region yet" in shown
    assert "Nothing happened yet" in shown


def test_costs_do_not_grow_with_rows(client: Client, world: SimpleNamespace) -> None:
    client.force_login(world.of_eu)

    def costs() -> list[int]:
        found = []
        for url in (reverse("accounts:list"), page_of(world.eu), page_of(world.eu, "accounts:timeline")):
            client.get(url)  # a session's first request notes it among the reader's sessions
            with CaptureQueriesContext(connection) as queries:
                assert client.get(url).status_code == 200
            found.append(len(queries))
        return found

    few = costs()
    for number in range(20):
        cell = make.make_cell(f"more-{number}", account=world.eu)
        make.place(world.two, make.make_instance(f"more-{number}", cell=cell))
        make.grant(world.of_eu, "viewer", "account", make.make_account(f"more-{number}"))
    assert costs() == few
    assert max(few) <= 15
