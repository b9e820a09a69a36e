"""Charts compared with the rest of the cell and with last week, and what changed around an instance."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.core.context import acting
from apps.fleet import changes, charting, notices
from apps.fleet.charting import WEEK
from apps.fleet.history import forget_old_measurements
from apps.fleet.models import Certificate, Instance, Measurement, Placement
from apps.fleet.queries.changes import around, before
from apps.fleet.queries.charts import chart_data, tenant_data
from tests.factories import as_system, grant, make_instance, make_tenant, make_user, place

from .conftest import World


@pytest.fixture(autouse=True)
def fresh() -> None:
    cache.clear()


def measure(
    instance: Instance, per_second: float, *, ago: timedelta = timedelta(), minutes: int = 15
) -> None:
    now = timezone.now() - ago
    Measurement.objects.bulk_create(
        Measurement(instance=instance, at=now - timedelta(seconds=15 * n), requests=10_000 - 15 * per_second * n, memory=2**20)
        for n in range(minutes * 4)
    )  # fmt: skip


def kinds_of(data: dict[str, Any]) -> dict[str, list[float]]:
    return {s.get("kind", "own"): [v for _, v in s["points"] if v is not None] for s in data["series"]}


def test_against_the_others_of_its_cell(world: World) -> None:
    measure(world.one, 8)
    for rate in (1, 2, 3, 4, 100):
        measure(make_instance(cell=world.cell), rate)
    measure(world.elsewhere, 1_000)
    found = kinds_of(chart_data(world.operator, world.one, "15m", "requests", ["cell"]))
    assert set(found) == {"own", "low", "median", "high"}
    assert found["own"] == pytest.approx([8] * len(found["own"]))
    # The ends of the range hold half a step of some.
    assert found["median"][5:-2] == pytest.approx([3] * len(found["median"][5:-2]))
    assert found["low"][5:-2] == pytest.approx([2] * len(found["low"][5:-2]))
    assert found["high"][5:-2] == pytest.approx([4] * len(found["high"][5:-2]))


def test_nobody_is_compared_with_what_they_do_not_see(world: World) -> None:
    measure(world.one, 8)
    measure(make_instance(cell=world.cell), 1)
    tenants = make_user("tina")
    grant(tenants, "viewer", "tenant", world.tenant)
    assert set(kinds_of(chart_data(tenants, world.one, "15m", "requests", ["cell"]))) == {"own"}


def test_against_last_week(world: World) -> None:
    measure(world.one, 8)
    measure(world.one, 2, ago=WEEK - timedelta(minutes=1), minutes=20)
    data = chart_data(world.operator, world.one, "15m", "requests", ["week"])
    found = kinds_of(data)
    assert set(found) == {"own", "past"}
    assert found["past"] == pytest.approx([2] * len(found["past"]))
    (past,) = [s for s in data["series"] if s.get("kind") == "past"]
    since = timezone.now() - timedelta(minutes=16)
    assert all(at > since.timestamp() for at, _ in past["points"]), "drawn where this week's stand"


def test_what_is_old_is_thinned_and_then_dropped(world: World) -> None:
    now = timezone.now()
    measure(world.one, 2, ago=timedelta(days=2, minutes=1), minutes=60)
    measure(world.one, 2, ago=timedelta(minutes=1), minutes=5)
    measure(world.one, 2, ago=timedelta(days=10), minutes=5)
    forget_old_measurements(now)
    left = Measurement.objects.filter(at__lt=now - timedelta(days=2)).order_by("at")
    assert 12 <= left.count() <= 14
    rows = list(left.values_list("at", "requests"))
    (at, was), (until, now_) = rows[1], rows[-2]
    assert (now_ - was) / (until - at).total_seconds() == pytest.approx(2)
    assert Measurement.objects.filter(at__gte=now - timedelta(days=1)).count() == 20
    assert forget_old_measurements(now) == 0


def test_a_tenants_charts_hold_a_line_for_each_instance_that_serves_it(
    world: World, as_user: Callable[..., Client]
) -> None:
    other = make_instance("northwind-eu", cell=world.cell)
    place(world.tenant, other)
    place(world.tenant, world.elsewhere)
    for one, rate in ((world.one, 8), (other, 2), (world.elsewhere, 1)):
        measure(one, rate)
    client = as_user(world.operator)
    page = client.get(reverse("fleet:tenant_charts", args=[world.tenant.pk])).content.decode()
    assert "northwind-eu" in page
    assert world.elsewhere.name not in page
    answer = client.get(
        reverse("fleet:tenant_metrics", args=[world.tenant.pk]), {"range": "15m", "only": "requests", "compare": "week"}
    ).json()  # fmt: skip
    assert [s["label"] for s in answer["series"] if "kind" not in s] == ["northwind-prod", "northwind-eu"]
    assert tenant_data(world.operator, [], "northwind", "15m")["series"] == []


class Away:
    """A source that is away."""

    words = "a Prometheus"

    def lines(self, *args: Any) -> Any:
        raise charting.Unanswered("Prometheus was not reached: ConnectError.")

    spread = lines


def test_figures_kept_elsewhere_that_are_away_are_told_and_the_own_stand_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure(world.one, 8)
    monkeypatch.setattr(charting, "_sources", [lambda instance: Away()])
    data = chart_data(world.operator, world.one, "15m", "requests", ["cell"])
    assert "ConnectError" in data["note"]
    assert kinds_of(data)["own"][0] == pytest.approx(8)


# --- What changed --------------------------------------------------------------------------------


def words(user: Any, one: Instance) -> set[tuple[str, str]]:
    return {(c.kind, c.what) for c in before(user, around([one]), timezone.now())}


def test_what_changed_is_told_newest_first_to_who_may_see_it(
    world: World, as_user: Callable[..., Client]
) -> None:
    boss = make_user("boss", superuser=True)
    placed = Placement.objects.get(instance=world.one)
    with as_system():
        Placement.objects.filter(pk=placed.pk).update(since=timezone.now() - timedelta(minutes=30))
    Certificate.objects.create(
        instance=world.one, issuer="R3", served_since=timezone.now() - timedelta(minutes=20)
    )
    with acting(boss, reason="the disk is full"):
        world.cell.locked_reason = "maintenance"
        world.cell.save()
    seen = words(boss, world.one)
    assert ("placement", "Northwind was placed on northwind-prod") in seen
    assert ("certificate", "Another certificate on northwind-prod") in seen
    assert ("configuration", "eu-west-1a (cell) was changed") in seen
    mine = {kind for kind, _ in words(world.operator, world.one)}
    assert mine == {"placement", "certificate"}, "the trail is for who may read it"
    assert words(world.stranger, world.one) == set()
    text = as_user(boss).get(reverse("fleet:instance_changes", args=[world.one.pk])).content.decode()
    assert (
        text.index("eu-west-1a (cell) was changed")
        < text.index("Another certificate")
        < text.index("was placed on")
    )
    assert "locked reason · boss" in text.replace("Boss", "boss")
    long_ago = {"at": "2020-01-01T00:00:00+00:00"}
    assert "Nothing that you may see" in as_user(boss).get(
        reverse("fleet:instance_changes", args=[world.one.pk]), long_ago
    ).content.decode()  # fmt: skip


@pytest.mark.parametrize("at", ["nonsense", "9999-12-31T23:59:59-12:00", "0001-01-01", "2026-13-01T00:00"])
def test_a_moment_that_is_none_is_now(world: World, as_user: Callable[..., Client], at: str) -> None:
    url = reverse("fleet:instance_changes", args=[world.one.pk])
    assert as_user(world.operator).get(url, {"at": at}).status_code == 200


def test_each_floor_registers_once() -> None:
    count = len(changes._sources)
    for source in list(changes._sources):
        changes.register(source)
    assert len(changes._sources) == count >= 5
    assert notices._links


def test_queries_of_the_pages(
    world: World, as_user: Callable[..., Client], queries: Callable[[Callable[[], object]], int]
) -> None:
    client = as_user(world.operator)
    pages = [
        reverse("fleet:instance_changes", args=[world.one.pk]), reverse("fleet:instance_charts", args=[world.one.pk]),
        reverse("fleet:tenant_charts", args=[world.tenant.pk]),
    ]  # fmt: skip
    few = [queries(lambda url=url: client.get(url)) for url in pages]  # type: ignore[misc]
    for number in range(20):
        one = make_instance(cell=world.cell)
        tenant = make_tenant(f"t{number}")
        place(tenant, one)
    assert [queries(lambda url=url: client.get(url)) for url in pages] == few  # type: ignore[misc]
    assert max(few) <= 15, few
