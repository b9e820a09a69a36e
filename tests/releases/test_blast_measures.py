"""Limits by tenants, revenue and cells, of a region or a plan; and two rollouts that race for the last room."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connections
from django.test import Client
from django.urls import reverse

from apps.access.models import User
from apps.fleet.models import Cell, Instance, Placement
from apps.operations.choices import State
from apps.operations.models import Operation
from apps.operations.services import Refused, submit, submit_many
from apps.releases import driving
from apps.releases.models import BlastPolicy, Rollout
from apps.releases.rollouts import prepare_rollout, steer
from apps.releases.rules import approve_policy, set_policy
from apps.tenants.models import Subscription, Tenant
from tests.factories import as_system, make_cell, make_instance, make_plan, make_tenant, place
from tests.releases.conftest import make_release, run, start

Fleet = Callable[[int], list[Instance]]


def limit(boss: User, measure: str, count: int | None = None, percent: int | None = None, **more: Any) -> Any:
    values = {"scope": "fleet", "object_id": 0, "reason": "as agreed", **more}
    if measure == "revenue":
        values["currency"] = "EUR"
    return set_policy(max_count=count, max_percent=percent, measure=measure, actor=boss, **values)


def restart(instances: list[Instance], boss: User) -> tuple[list[str], str]:
    """Names of those accepted, and why not of the first that was not."""
    done = submit_many(
        kind="restart", target_ids=[i.pk for i in instances], params={}, actor=boss, reason="test"
    )
    return sorted(o.target_label for o in done.operations), done.refused[0].why if done.refused else ""


def forget_operations() -> None:
    with as_system():
        Operation.objects.all().delete()


def price(tenant: str, amount: int, currency: str = "EUR") -> None:
    with as_system():
        Subscription.objects.filter(tenant__key=tenant).update(monthly_price=amount, currency=currency)


def test_tenants_count_once_however_many_instances_serve_them(fleet: Fleet, boss: User, cell: Cell) -> None:
    instances = fleet(4)
    twin = make_instance("twin", cell=cell)
    place(Tenant.objects.get(key="t-000"), twin)
    limit(boss, "tenants", 2)
    names, why = restart([instances[0], twin, *instances[1:]], boss)
    assert names == ["i-000", "i-001", "twin"]
    assert "2 tenants of the fleet" in why


def test_a_shared_instance_of_more_tenants_than_the_limit_goes_alone(
    fleet: Fleet, boss: User, cell: Cell
) -> None:
    instances = fleet(2)
    shared = make_instance("shared", cell=cell, kind="shared")
    for number in range(5):
        place(make_tenant(f"s-{number}"), shared)
    limit(boss, "tenants", 2)
    assert restart([instances[0], shared], boss)[0] == ["i-000"], "no longer alone"
    forget_operations()
    assert restart([shared, *instances], boss)[0] == ["shared"]


def test_revenue_counts_what_tenants_pay_in_that_currency(fleet: Fleet, boss: User) -> None:
    instances = fleet(4)
    for number, amount in enumerate((500, 300, 300, 900)):
        price(f"t-{number:03}", amount)
    price("t-003", 900, "USD")
    limit(boss, "revenue", 800)
    names, why = restart(instances, boss)
    assert names == ["i-000", "i-001", "i-003"], "dollars count in no limit in euros"
    assert "at most €\u00a0800 of monthly revenue of the fleet" in why


def test_revenue_by_per_cent_is_of_the_scope(fleet: Fleet, boss: User, cell: Cell) -> None:
    instances = fleet(4)
    for number in range(4):
        price(f"t-{number:03}", 250)
    limit(boss, "revenue", percent=50, scope="account", object_id=cell.region.account_id)
    assert restart(instances, boss)[0] == ["i-000", "i-001"]


def test_cells_and_an_instance_more_in_one_that_is_disturbed(fleet: Fleet, boss: User) -> None:
    instances = [*fleet(2), make_instance("other", cell=make_cell())]
    limit(boss, "cells", 1)
    assert restart(instances, boss)[0] == ["i-000", "i-001"]


def test_a_region_and_a_plan_are_scopes(fleet: Fleet, boss: User, cell: Cell) -> None:
    instances = fleet(4)
    elsewhere = make_instance("elsewhere", cell=make_cell())
    limit(boss, "instances", 2, scope="region", object_id=cell.region_id)
    assert restart([*instances, elsewhere], boss)[0] == ["elsewhere", "i-000", "i-001"]
    forget_operations()
    gold = make_plan("Gold")
    with as_system():
        Subscription.objects.filter(tenant__key__in=["t-000", "t-001"]).update(plan=gold)
        BlastPolicy.objects.all().delete()
    limit(boss, "tenants", 1, scope="plan", object_id=gold.pk)
    names, why = restart(instances, boss)
    assert names == ["i-000", "i-002", "i-003"]
    assert "plan Gold" in why


def test_the_unhealthy_count_in_what_they_weigh_and_may_be_mended(fleet: Fleet, boss: User) -> None:
    instances = fleet(3)
    price("t-000", 900)
    price("t-001", 200)
    limit(boss, "revenue", 1000)
    Instance.objects.filter(pk=instances[0].pk).unrecorded_update(health="failing")
    with pytest.raises(Refused, match="Blast radius"):
        submit(kind="restart", target_id=instances[1].pk, actor=boss, reason="one more")
    submit(kind="restart", target_id=instances[0].pk, actor=boss, reason="mend it")


def test_each_measure_is_a_limit_of_its_own_and_raising_each_takes_two(boss: User, second: User) -> None:
    limit(boss, "tenants", 5)
    limit(boss, "revenue", 1000)
    assert BlastPolicy.objects.count() == 2
    raised = limit(boss, "revenue", 2000)
    assert (raised.max_count, raised.wanted_count) == (1000, 2000)
    with pytest.raises(Refused):
        approve_policy(BlastPolicy(pk=raised.pk), actor=boss)
    assert approve_policy(raised, actor=second).max_count == 2000
    assert limit(boss, "tenants", 5).wanted_by is None
    with pytest.raises((ValidationError, IntegrityError)):
        set_policy(
            scope="fleet", object_id=0, max_count=1, max_percent=None, measure="revenue", actor=boss, reason="no currency"
        )  # fmt: skip


def test_the_page_sets_and_shows_them(fleet: Fleet, boss: User, cell: Cell, client: Client) -> None:
    fleet(2)
    client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
    region = f"{cell.region.account.name}/{cell.region.code}"
    data = {"scope": "region", "name": region, "measure": "revenue", "max_percent": 50, "currency": "eur"}
    url = reverse("releases:set_policy")
    assert client.post(url, {**data, "reason": "as agreed"}).status_code == 302
    policy = BlastPolicy.objects.get()
    assert (policy.object_id, policy.currency, policy.max_percent) == (cell.region_id, "EUR", 50)
    shown = client.get(reverse("releases:rules")).content.decode()
    assert "€\u00a00 of €\u00a0100 of monthly revenue" in shown
    for wrong, said in (
        ({"name": "nowhere/else"}, "no such region"),
        ({"currency": ""}, "in which currency"),
        ({"measure": "tenants"}, "Only revenue has"),
        ({"scope": "cell", "name": cell.name, "measure": "cells", "currency": ""}, "One cell is one cell"),
    ):
        answer = client.post(url, {**data, "reason": "as agreed", **wrong})
        assert (answer.status_code, said in answer.content.decode()) == (422, True), wrong


def open_revenue() -> Decimal:
    """What the tenants pay whose instances are being changed, or shall be."""
    busy = Operation.objects.filter(state__in=[State.PENDING, State.RUNNING]).values("target_id")
    served = Placement.objects.filter(instance_id__in=busy).values("tenant_id")
    return sum(
        Subscription.objects.filter(tenant_id__in=served).values_list("monthly_price", flat=True), Decimal(0)
    )


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("measure", ["revenue", "tenants"])
def test_two_racing_rollouts_stay_within_the_limit_together(boss: User, measure: str) -> None:
    """Each is driven by a thread with a connection of its own; both ask the engine at the same moment, ten times."""
    rollouts: list[Rollout] = []
    for name in ("left", "right"):
        cell = make_cell(name)
        for number in range(8):
            place(make_tenant(f"{name}-{number}"), make_instance(f"{name}-{number}", cell=cell))
        release = make_release(f"2.0.{name}")
        rollout = Rollout(
            release=release, reason="a race", query=f"cell={name}", canary="8", growth=1, bake_seconds=0
        )
        prepare_rollout(rollout, actor=boss)
        rollouts.append(rollout)
    limit(boss, measure, 500 if measure == "revenue" else 5)
    for rollout in rollouts:
        steer(rollout, "start", actor=boss, reason="ready, steady, go")
    for _ in range(10):
        barrier = threading.Barrier(2)
        wrong: list[BaseException] = []

        def race(pk: int, barrier: threading.Barrier = barrier, wrong: list[BaseException] = wrong) -> None:
            try:
                barrier.wait(10)
                driving.advance(pk)
            except BaseException as error:  # noqa: BLE001 - told to the test below
                wrong.append(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=race, args=[rollout.pk]) for rollout in rollouts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert wrong == []
        assert open_revenue() == 500, "all of the room is used, and no more than that"
        # Those that were asked for are taken back, so that the next round races anew.
        forget_operations()
        Rollout.objects.get(pk=rollouts[0].pk).targets.model.objects.update(
            state="waiting", operation_id=None
        )


def test_a_rollout_keeps_within_a_limit_of_revenue_and_comes_to_its_end(fleet: Fleet, boss: User) -> None:
    fleet(6)
    limit(boss, "revenue", 200)
    rollout = start(make_release(), boss, canary="6")
    driving.advance_all()
    assert open_revenue() == 200
    rollout.refresh_from_db()
    assert "of monthly revenue" in rollout.note
    assert run(rollout).state == "succeeded"
