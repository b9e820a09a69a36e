"""A hot patch: the same road for one tenant alone, pinned while it is on, reminded of until it is off."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.access.models import Notice, User
from apps.core.models import Event
from apps.fleet.models import Cell, Instance
from apps.operations.services import Refused
from apps.releases.choices import RolloutState
from apps.releases.hotpatching import extend_hot_patch, prepare_hot_patch, watch_hot_patches
from apps.releases.models import Hold, HotPatch, Release, Rollout
from apps.releases.rollouts import prepare_rollout, steer
from apps.releases.rules import set_hold
from apps.tenants.models import Tenant
from tests.factories import (
    as_system,
    grant,
    make_cell,
    make_instance,
    make_role,
    make_tenant,
    make_user,
    place,
)
from tests.releases.conftest import make_release, run, start

Fleet = Callable[[int], list[Instance]]
DAYS = timedelta(days=5)


@pytest.fixture
def fix(db: None) -> Release:
    return make_release("1.0.0-acme", kind="patch")


def prepare(fix: Release, boss: User, tenant: str = "t-000", *, last: timedelta = DAYS) -> HotPatch:
    return prepare_hot_patch(
        Tenant.objects.get(key=tenant), release=fix, until=timezone.now() + last, reason="their import crashes", actor=boss,
        bake_seconds=0,
    )  # fmt: skip


def bring(fix: Release, boss: User, **more: timedelta) -> HotPatch:
    patch = prepare(fix, boss, **more)
    steer(patch.rollout, "start", actor=boss, reason="they wait for it")
    assert run(patch.rollout).state == RolloutState.SUCCEEDED
    assert watch_hot_patches() == 1
    patch.refresh_from_db()
    return patch


def told() -> list[str]:
    return list(
        Event.objects.filter(kind__startswith="hot_patch.").order_by("id").values_list("kind", flat=True)
    )


def test_it_touches_that_tenant_alone_and_pins_it(
    fleet: Fleet, fix: Release, boss: User, release: Release
) -> None:
    instances = fleet(3)
    patch = bring(fix, boss)
    assert patch.in_force_since is not None
    versions = dict(Instance.objects.values_list("name", "version"))
    assert versions == {"i-000": "1.0.0-acme", "i-001": "1.0.0", "i-002": "1.0.0"}
    assert (patch.hold.version, patch.hold.until) == ("1.0.0-acme", patch.until)  # type: ignore[union-attr]
    run(start(release, boss))
    instances[0].refresh_from_db()
    assert instances[0].version == "1.0.0-acme", (
        "a rollout of the main line leaves it alone while it is pinned"
    )


def test_its_instances_in_two_cells_go_one_after_the_other(fleet: Fleet, fix: Release, boss: User) -> None:
    fleet(1)
    place(Tenant.objects.get(key="t-000"), make_instance("standby", cell=make_cell()))
    assert [wave.size for wave in prepare(fix, boss).rollout.waves.all()] == [1, 1]


def test_who_asked_is_reminded_before_its_end_at_its_end_and_each_day_after(
    fleet: Fleet, fix: Release, boss: User
) -> None:
    fleet(1)
    patch = bring(fix, boss)
    begin = timezone.now()
    for at, expected in (
        (timedelta(days=3), 0), (timedelta(days=4, hours=1), 1), (timedelta(days=4, hours=9), 0),
        (timedelta(days=5, minutes=1), 1), (timedelta(days=5, hours=9), 0), (timedelta(days=6, hours=1), 1),
    ):  # fmt: skip
        with time_machine.travel(begin + at, tick=True):
            assert (watch_hot_patches(), watch_hot_patches()) == (expected, 0), at
    assert told() == [
        "hot_patch.prepared", "hot_patch.in_force", "hot_patch.ends_soon", "hot_patch.overdue", "hot_patch.overdue",
    ]  # fmt: skip
    letters = Notice.objects.order_by("id")
    assert {letter.to for letter in letters} == {boss.email}
    assert len(letters) == 4
    assert "should be back on the main line since" in letters[2].subject
    assert f"rollout #{patch.rollout_id}" in letters[0].body


def test_back_on_the_main_line_it_is_over_and_so_is_its_pin(
    fleet: Fleet, fix: Release, boss: User, release: Release
) -> None:
    fleet(1)
    patch = bring(fix, boss)
    with as_system():
        Hold.objects.filter(pk=patch.hold_id).update(until=timezone.now())  # its end has come
    run(start(release, boss))
    assert watch_hot_patches() == 1
    patch.refresh_from_db()
    assert patch.ended_why == "the tenant is back on the main line"
    assert told()[-1] == "hot_patch.ended"
    assert watch_hot_patches() == 0


def test_one_that_went_back_or_was_discarded_is_over(fleet: Fleet, fix: Release, boss: User) -> None:
    fleet(1)
    patch = prepare(fix, boss)
    with pytest.raises(Refused, match="has a hot patch already"):
        prepare(fix, boss)
    steer(patch.rollout, "cancel", actor=boss, reason="not needed")
    assert watch_hot_patches() == 1
    patch.refresh_from_db()
    assert patch.ended_at is not None
    assert not Hold.objects.exists()
    assert prepare(fix, boss).pk != patch.pk


def test_a_shared_instance_a_past_end_and_a_far_one_are_refused(
    fleet: Fleet, fix: Release, boss: User, cell: Cell
) -> None:
    fleet(1)
    shared = make_instance("shared", cell=cell, kind="shared")
    for key in ("one", "two", "three"):
        place(make_tenant(key), shared)
    with pytest.raises(Refused, match="shared serves 2 other tenants"):
        prepare(fix, boss, "two")
    with pytest.raises(Refused, match="in the future"):
        prepare(fix, boss, last=-DAYS)
    with pytest.raises(Refused, match="90 days"):
        prepare(fix, boss, last=DAYS * 20)
    assert not HotPatch.objects.exists()


def test_extended_it_and_its_pin_last_longer(fleet: Fleet, fix: Release, boss: User) -> None:
    fleet(1)
    patch = bring(fix, boss)
    later = timezone.now() + DAYS * 2
    extend_hot_patch(patch, until=later, reason="the main line is late", actor=boss)
    patch.refresh_from_db()
    assert (patch.until, patch.hold.until) == (later, later)  # type: ignore[union-attr]
    with time_machine.travel(timezone.now() + timedelta(days=5, hours=1), tick=True):
        assert watch_hot_patches() == 0


def test_pages_prepare_it_and_say_that_it_is_off_the_main_line(
    fleet: Fleet, fix: Release, boss: User, client: Client
) -> None:
    instances = fleet(2)
    client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
    until = timezone.localtime(timezone.now() + DAYS).strftime("%Y-%m-%dT%H:%M")
    data = {"tenant": "t-000", "release": fix.pk, "until": until, "gate": "health", "bake_seconds": 0}
    url = reverse("releases:new_hot_patch")
    assert client.post(url, {**data, "tenant": "nobody", "reason": "it crashes"}).status_code == 422
    assert client.post(url, {**data, "reason": "it crashes"}).status_code == 302
    patch = HotPatch.objects.get()
    page = reverse("releases:rollout", args=[patch.rollout_id])
    assert "off the main line until" in client.get(page).content.decode()
    steer(patch.rollout, "start", actor=boss, reason="they wait")
    run(patch.rollout)
    watch_hot_patches()
    said = "runs hot patch 1.0.0-acme, off the main line"
    for name, pk, expected in (
        ("fleet:overview", None, True), ("fleet:instance", instances[0].pk, True), ("fleet:instance", instances[1].pk, False),
        ("tenants:tenant", patch.tenant_id, True),
    ):  # fmt: skip
        shown = client.get(reverse(name, args=[pk] if pk else [])).content.decode()
        assert (said in shown) is expected, name
    extend = reverse("releases:extend_hot_patch", args=[patch.rollout_id])
    assert client.post(extend, {"until": until, "reason": "longer"}).status_code == 302
    assert "Back to the main line" in client.get(page).content.decode()


def test_who_sees_another_cell_reads_nothing_of_it(
    fleet: Fleet, fix: Release, boss: User, client: Client
) -> None:
    fleet(1)
    bring(fix, boss)
    olga = make_user("olga")
    grant(olga, "operator", "cell", make_cell())
    client.force_login(olga, backend="django.contrib.auth.backends.ModelBackend")
    assert "hot patch" not in client.get(reverse("fleet:overview")).content.decode()


@pytest.mark.parametrize("late", [False, True])
def test_a_rollout_for_that_tenant_alone_brings_it_back_in_spite_of_its_own_pin(
    fleet: Fleet, fix: Release, boss: User, release: Release, late: bool
) -> None:
    instances = fleet(2)
    rollout = None
    if late:  # it was asked for before the pin was there
        rollout = Rollout(
            release=release, reason="back to the main line", query="tenant=t-000", bake_seconds=0
        )
        prepare_rollout(rollout, actor=boss)
    patch = bring(fix, boss)
    if rollout is None:
        rollout = start(release, boss, query="tenant=t-000")
    else:
        steer(rollout, "start", actor=boss, reason="back to the main line")
    assert run(rollout).state == RolloutState.SUCCEEDED
    instances[0].refresh_from_db()
    assert instances[0].version == "2.0.0"
    assert watch_hot_patches() == 1
    patch.refresh_from_db()
    assert patch.ended_why == "the tenant is back on the main line"
    assert not patch.hold.is_on  # type: ignore[union-attr]


def test_another_hold_of_the_tenant_holds_that_rollout_too(
    fleet: Fleet, fix: Release, boss: User, release: Release
) -> None:
    instances = fleet(1)
    bring(fix, boss)
    tenant = Tenant.objects.get(key="t-000")
    set_hold(tenant, until=timezone.now() + DAYS, reason="they asked for it", actor=boss)
    run(start(release, boss, query="tenant=t-000"))
    instances[0].refresh_from_db()
    assert instances[0].version == "1.0.0-acme"


# --- Who may ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["account", "cell", "tenant"])
def test_an_operator_of_where_its_instances_stand_brings_and_extends_one(
    fleet: Fleet, fix: Release, cell: Cell, scope: str, client: Client
) -> None:
    fleet(1)
    on = {"account": cell.region.account, "cell": cell, "tenant": Tenant.objects.get(key="t-000")}[scope]
    olga = make_user("olga")
    grant(olga, "operator", scope, on)
    patch = bring(fix, olga)
    client.force_login(olga, backend="django.contrib.auth.backends.ModelBackend")
    page = reverse("releases:rollout", args=[patch.rollout_id])
    assert "Extend it" in client.get(page).text
    until = timezone.localtime(timezone.now() + DAYS * 2).strftime("%Y-%m-%dT%H:%M")
    url = reverse("releases:extend_hot_patch", args=[patch.rollout_id])
    assert client.post(url, {"until": until, "reason": "the main line is late"}).status_code == 302
    before, patch.until = patch.until, HotPatch.objects.get().until
    assert patch.until > before


def test_an_operator_of_elsewhere_brings_none_and_is_shown_no_way_to_extend_one(
    fleet: Fleet, fix: Release, boss: User, cell: Cell, client: Client
) -> None:
    fleet(1)
    olga = make_user("olga")
    grant(olga, "operator", "cell", make_cell())
    with pytest.raises(Http404):
        prepare(fix, olga)
    grant(olga, "viewer", "cell", cell)
    with pytest.raises(PermissionDenied, match="every instance of"):
        prepare(fix, User.objects.get(pk=olga.pk))
    assert not HotPatch.objects.exists()
    patch = bring(fix, boss)
    client.force_login(olga, backend="django.contrib.auth.backends.ModelBackend")
    page = reverse("releases:rollout", args=[patch.rollout_id])
    assert "off the main line until" in client.get(page).text
    assert "Extend it" not in client.get(page).text
    with pytest.raises(PermissionDenied):
        extend_hot_patch(
            patch, until=timezone.now() + DAYS, reason="longer", actor=User.objects.get(pk=olga.pk)
        )
    answer = client.post(
        reverse("releases:extend_hot_patch", args=[patch.rollout_id]),
        {"until": "2099-01-01T00:00", "reason": "longer"},
    )
    assert answer.status_code == 403


def test_a_tenant_that_spans_accounts_takes_somebody_of_both(
    fleet: Fleet, fix: Release, boss: User, cell: Cell
) -> None:
    fleet(1)
    there = make_cell()
    place(Tenant.objects.get(key="t-000"), make_instance("standby", cell=there))
    olga = make_user("olga")
    grant(olga, "operator", "account", cell.region.account)
    with pytest.raises(PermissionDenied, match="every instance of"):
        prepare(fix, olga)
    assert not HotPatch.objects.exists()
    patch = prepare(fix, boss)
    with pytest.raises(PermissionDenied):
        extend_hot_patch(patch, until=timezone.now() + DAYS, reason="longer", actor=olga)
    grant(olga, "operator", "account", there.region.account)
    extend_hot_patch(patch, until=timezone.now() + DAYS, reason="longer", actor=User.objects.get(pk=olga.pk))


def test_who_may_roll_out_and_not_deploy_brings_none(fleet: Fleet, fix: Release, cell: Cell) -> None:
    fleet(1)
    rolf = make_user("rolf")
    make_role("rolls-out", ["view", "roll_out"])
    grant(rolf, "rolls-out", "cell", cell)
    with pytest.raises(PermissionDenied, match="“Deploy"):
        prepare(fix, rolf)


def test_an_operator_is_told_too_that_an_instance_is_shared(fleet: Fleet, fix: Release, cell: Cell) -> None:
    shared = make_instance("shared", cell=cell, kind="shared")
    for key in ("one", "two"):
        place(make_tenant(key), shared)
    olga = make_user("olga")
    grant(olga, "operator", "cell", cell)
    with pytest.raises(Refused, match="shared serves 1 other"):
        prepare(fix, olga, "two")
