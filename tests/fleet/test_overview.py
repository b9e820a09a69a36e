"""The first page tells what is true, to whom it may be told, in a fixed number of queries."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.core.events import event, record
from apps.fleet.models import Cell, Instance
from apps.fleet.queries import overview as questions
from apps.fleet.queries import wrong as wrong_questions
from apps.operations.models import Operation
from tests.factories import as_system, grant, make_cell, make_instance, make_tenant, make_user, place

from .conftest import World

URL = "/"


def page_of(user: object, by: str = "cell") -> questions.Overview:
    user.__dict__.pop("_scopes", None)  # type: ignore[attr-defined]
    return questions.overview(user, by)


def running(instance: Instance, actor: object, **fields: object) -> Operation:
    now = timezone.now()
    values = {
        "kind": "restart", "target_type": "instance", "target_id": instance.pk, "target_label": instance.name,
        "cell_id": instance.cell_id, "account_id": instance.cell.region.account_id, "is_changing": True, "actor": actor,
        "reason": "looks stuck", "idempotency_key": f"k{instance.pk}", "fingerprint": "f", "state": "running", "lease_until": now,
        "started_at": now, **fields,
    }  # fmt: skip
    with as_system():
        return Operation.objects.create(**values)


def test_it_counts_only_what_the_reader_sees(world: World) -> None:
    page = page_of(world.operator)
    assert (page.total, page.well, page.tenants, page.accounts) == (1, 1, 1, 1)
    assert [row.label for row in page.rows] == ["eu-west-1a"]
    boss = make_user("boss", superuser=True)
    assert page_of(boss).total == 2


def test_a_large_fleet_is_counted_once_for_all_who_see_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "SQUARES", 1)
    cache.clear()
    first, second = make_user("boss", superuser=True), make_user("chief", superuser=True)
    as_of = page_of(first).as_of
    make_instance("late", cell=world.cell)
    assert (page_of(second).total, page_of(second).as_of) == (2, as_of)
    assert page_of(world.operator).total == 2  # other scopes, counted for themselves
    cache.clear()
    assert page_of(second).total == 3


def test_money_at_risk_is_that_of_tenants_affected(world: World) -> None:
    make_instance("northwind-2", cell=world.cell, health="failing")
    place(world.tenant, Instance.objects.get(name="northwind-2"))
    rich = make_tenant("rich", name="Rich")
    place(rich, make_instance("rich-1", cell=world.cell, health="degraded"))
    place(rich, make_instance("rich-2", cell=world.cell, health="failing"))
    page = page_of(world.operator)
    assert page.affected == 2
    assert {currency: float(money) for currency, money in page.at_risk.items()} == {"EUR": 200.0}


def test_a_hundred_per_cent_is_said_only_of_all(world: World, as_user: Callable[..., Client]) -> None:
    for number in range(3):
        make_instance(f"i-{number}", cell=world.cell, health="failing" if number == 0 else "well")
    text = as_user(world.operator).get(URL).content.decode()
    assert "75 %" in text
    assert "3 of 4 instances" in text


def test_stopped_on_purpose_is_not_counted_against_serving(world: World) -> None:
    make_instance("asleep", cell=world.cell, health="stopped", wanted="stopped")
    assert page_of(world.operator).serving == 100.0


def test_more_than_three_wrong_in_a_cell_are_one_line(world: World) -> None:
    other = make_cell("eu-west-1b", account=world.cell.region.account)
    for number in range(4):
        make_instance(f"many-{number}", cell=world.cell, health="failing", health_detail="port closed")
    make_instance("lonely", cell=other, health="degraded", health_detail="slow")
    lines = wrong_questions.wrong_now(world.operator, page_of(world.operator))
    assert [line.title for line in lines] == ["lonely: slow", "eu-west-1a: 4 failing of 5"]
    assert [line.is_group for line in lines] == [False, True]
    assert lines[0].may_restart
    assert lines[1].details == ["port closed"]


def test_the_last_operation_is_suspected(world: World) -> None:
    bad = make_instance("bad", cell=world.cell, health="failing")
    running(bad, world.viewer, state="succeeded", lease_until=None, finished_at=timezone.now())
    line = wrong_questions.wrong_now(world.operator, page_of(world.operator))[0]
    assert line.suspect is not None
    assert line.suspect_words == "Restart by vera"


def test_who_may_not_restart_gets_no_button(world: World, as_user: Callable[..., Client]) -> None:
    bad = make_instance("bad", cell=world.cell, health="failing")
    act = reverse("operations:act", args=["restart", bad.pk])
    assert act in as_user(world.operator).get(URL).content.decode()
    assert act not in as_user(world.viewer).get(URL).content.decode()


def test_what_an_operation_changes_is_drawn_as_changing(world: World) -> None:
    running(world.one, world.operator)
    page = page_of(world.operator)
    assert [dot.state for dot in page.rows[0].dots] == ["changing"]
    assert page.work.running == 1


def test_boards(world: World) -> None:
    make_instance("older", cell=world.cell, version="0.9.0")
    assert [row.label for row in page_of(world.operator, "version").rows] == ["1.0.0", "0.9.0"]
    assert [row.label for row in page_of(world.operator, "account").rows] == ["acme"]
    assert page_of(world.operator, "nonsense").by == "cell"


def test_past_what_can_be_seen_only_the_wrong_is_drawn(world: World, monkeypatch: object) -> None:
    make_instance("bad", cell=world.cell, health="failing")
    monkeypatch.setattr(questions, "SQUARES", 1)  # type: ignore[attr-defined]
    page = page_of(world.operator)
    assert not page.has_squares
    assert [dot.name for dot in page.rows[0].dots] == ["bad"]
    assert page.rows[0].total == 2


def test_what_changed_is_told_to_who_may_know(world: World, as_user: Callable[..., Client]) -> None:
    with as_system():
        record(
            [
                event("x.y", "here it happened", account_id=world.cell.region.account_id),
                event("x.y", "there it happened", account_id=world.elsewhere.cell.region.account_id),
            ]
        )
    text = as_user(world.operator).get(URL).content.decode()
    assert "here it happened" in text
    assert "there it happened" not in text


def test_it_says_when_nobody_looks_any_more(world: World, as_user: Callable[..., Client]) -> None:
    said = "No probe has looked at the fleet since"
    client = as_user(world.operator)
    with as_system():
        Cell.objects.filter(pk=world.cell.pk).update(provider="local")
    Instance.objects.filter(cell=world.cell).update(observed_at=timezone.now())
    assert said not in client.get(URL).content.decode()
    Instance.objects.filter(cell=world.cell).update(observed_at=timezone.now() - timedelta(minutes=3))
    assert said in client.get(URL).content.decode()


def test_a_simulated_cell_says_nothing_of_when_it_was_looked_at(
    world: World, as_user: Callable[..., Client]
) -> None:
    """Of those, only what has changed is read: an old look is no sign of a prober that stands still."""
    Instance.objects.filter(cell=world.cell).update(observed_at=timezone.now() - timedelta(minutes=3))
    assert "No probe has looked" not in as_user(world.operator).get(URL).content.decode()


def test_live_part_is_the_part_of_the_page(world: World, as_user: Callable[..., Client]) -> None:
    client = as_user(world.operator)
    whole = squeezed(client.get(URL).content.decode())
    part = squeezed(client.get(URL, headers={"HX-Request": "true"}).content.decode())
    assert part.startswith('<div class="col" id="live"')
    assert part in whole


def squeezed(html: str) -> str:
    """Without what differs from second to second."""
    html = re.sub(r"<time[^>]*>[^<]*</time>", "<time>", html)
    return re.sub(r"\s+", " ", html).strip()


def test_an_empty_fleet_says_what_to_do(db: None, as_user: Callable[..., Client]) -> None:
    user = make_user("first")
    grant(user, "admin")
    assert "manage.py bootstrap" in as_user(user).get(URL).content.decode()


def test_queries_do_not_grow(
    world: World, as_user: Callable[..., Client], queries: Callable[..., int]
) -> None:
    client = as_user(world.operator)
    make_instance("bad-0", cell=world.cell, health="failing")
    client.get(URL)
    few = queries(lambda: client.get(URL))
    for number in range(20):
        cell = make_cell(f"cell-{number}", account=world.cell.region.account)
        bad = make_instance(f"many-{number}", cell=cell, health="failing")
        place(make_tenant(f"t-{number}"), bad)
        running(bad, world.operator, state="succeeded", lease_until=None, finished_at=timezone.now())
    assert queries(lambda: client.get(URL)) == few
    assert few <= 15
