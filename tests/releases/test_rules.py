"""Holds, pins and freezes: who is left alone, until when, and how one gets past them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.access import hands
from apps.access.choices import HandKind
from apps.access.models import User
from apps.fleet.models import Instance
from apps.operations.models import Operation
from apps.operations.services import Refused
from apps.releases.choices import RolloutState, TargetState
from apps.releases.models import Freeze, Hold, Release, Window
from apps.releases.rules import add_freeze, add_window, end_freeze, end_hold, set_hold
from apps.tenants.models import Tenant
from tests.factories import grant, make_account, make_user
from tests.releases.conftest import make_release, run, start

Fleet = Callable[[int], list[Instance]]
SOON = timedelta(hours=1)


def hold(tenant: str, actor: User, **more: str) -> Hold:
    return set_hold(
        Tenant.objects.get(key=tenant),
        until=timezone.now() + SOON,
        reason="their launch",
        actor=actor,
        **more,
    )


def freeze(actor: User, **more: object) -> Freeze:
    now = timezone.now()
    values = {
        "name": "holidays",
        "starts_at": now - SOON,
        "ends_at": now + SOON,
        "reason": "nobody is here",
        **more,
    }
    return add_freeze(Freeze(**values), actor=actor)


def test_a_tenant_on_hold_is_left_alone_and_the_wave_goes_on(
    fleet: Fleet, release: Release, boss: User
) -> None:
    fleet(4)
    hold("t-002", boss)
    rollout = run(start(release, boss))
    assert rollout.state == RolloutState.SUCCEEDED
    target = rollout.targets.get(state=TargetState.HELD)
    assert target.instance.name == "i-002"
    assert "their launch" in target.why
    assert "1 held" in rollout.why


def test_a_pin_lets_its_own_version_through(fleet: Fleet, release: Release, boss: User) -> None:
    fleet(2)
    hold("t-000", boss, version="2.0.0")
    hold("t-001", boss, version="1.0.0")
    rollout = run(start(release, boss))
    assert rollout.targets.get(state=TargetState.HELD).instance.name == "i-001"


def test_a_hold_that_has_ended_holds_nobody(fleet: Fleet, release: Release, boss: User) -> None:
    fleet(2)
    found = hold("t-000", boss)
    end_hold(found, actor=boss, reason="launched")
    assert run(start(release, boss)).targets.filter(state=TargetState.DONE).count() == 2
    with pytest.raises(Refused, match="ended already"):
        end_hold(found, actor=boss, reason="again")


def test_overriding_anothers_hold_takes_two(fleet: Fleet, boss: User, second: User) -> None:
    fleet(1)
    setter = make_user()
    grant(setter, "admin")
    found = hold("t-000", setter)
    end_hold(found, actor=boss, reason="the clock runs")
    found.refresh_from_db()
    assert found.is_on
    end_hold(found, actor=boss, reason="the clock still runs")
    found.refresh_from_db()
    assert found.is_on, "one person twice is not two"
    end_hold(found, actor=second, reason="agreed")
    found.refresh_from_db()
    assert not found.is_on
    assert found.overridden_by == second


def test_nobody_overrides_a_hold_by_a_second_account(fleet: Fleet, boss: User, second: User) -> None:
    fleet(1)
    setter = make_user()
    grant(setter, "admin")
    found = hold("t-000", setter)
    hands.note(by=boss, how=HandKind.MADE, words="boss made the account of second", people=[second.pk])
    end_hold(found, actor=boss, reason="the clock runs")
    with pytest.raises(PermissionDenied, match="do not count as two persons"):
        end_hold(found, actor=second, reason="agreed")
    found.refresh_from_db()
    assert found.is_on


def test_a_hold_ends_in_the_future_and_takes_the_permission(fleet: Fleet, boss: User) -> None:
    fleet(1)
    tenant = Tenant.objects.get(key="t-000")
    with pytest.raises(Refused, match="future"):
        set_hold(tenant, until=timezone.now() - SOON, reason="too late", actor=boss)
    vera = make_user("vera")
    grant(vera, "viewer")
    with pytest.raises(PermissionDenied):
        hold("t-000", vera)


def test_in_a_freeze_nothing_starts_and_after_it_all_goes_on(
    fleet: Fleet, release: Release, boss: User, second: User
) -> None:
    fleet(2)
    found = freeze(boss)
    rollout = run(start(release, boss))
    assert not Operation.objects.exists()
    assert "holidays" in rollout.note
    end_freeze(found, actor=boss, reason="all are back")
    end_freeze(found, actor=second, reason="they are")
    assert run(rollout).state == RolloutState.SUCCEEDED


def test_nobody_ends_a_freeze_alone(boss: User, second: User) -> None:
    found = freeze(boss)
    for _ in range(2):
        end_freeze(found, actor=boss, reason="the clock runs")
        found.refresh_from_db()
        assert found.ends_at > timezone.now()
    hands.note(by=boss, how=HandKind.MADE, words="boss made the account of second", people=[second.pk])
    with pytest.raises(PermissionDenied, match="do not count as two persons"):
        end_freeze(found, actor=second, reason="agreed")
    with pytest.raises((PermissionDenied, Refused)):
        end_freeze(found, actor=make_user("vera"), reason="agreed")
    found.refresh_from_db()
    assert found.ends_at > timezone.now()


def test_a_freeze_to_come_is_taken_back_by_two(boss: User, second: User) -> None:
    now = timezone.now()
    found = freeze(boss, starts_at=now + SOON, ends_at=now + 2 * SOON)
    assert end_freeze(found, actor=boss, reason="a typing error") is not None
    assert end_freeze(found, actor=second, reason="it is") is None
    assert not Freeze.objects.exists()
    with pytest.raises(Refused, match="ended already"):
        end_freeze(found, actor=second, reason="a doubled click")


@pytest.mark.parametrize("name", ["hold", "freeze", "window"])
def test_the_admin_is_no_way_round_the_second_person(fleet: Fleet, boss: User, name: str) -> None:
    fleet(1)
    tenant = Tenant.objects.get(key="t-000")
    setter = make_user()
    grant(setter, "admin")
    row = {
        "hold": lambda: hold("t-000", setter),
        "freeze": lambda: freeze(setter),
        "window": lambda: add_window(Window(tenant=tenant, days=[5], opens_at="22:00"), actor=setter),
    }[name]()
    client = Client()
    client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
    data = {
        "fix_reason": "ticket 7", "tenant": tenant.pk, "set_by": boss.pk, "until": "2020-01-01", "ends_at": "2020-01-01",
        "post": "yes",
    }  # fmt: skip
    for page in ("change", "delete"):
        url = reverse(f"admin:releases_{name}_{page}", args=[row.pk])
        assert client.post(url, data).status_code == 403
    url = reverse(f"admin:releases_{name}_change", args=[row.pk])
    assert client.get(url).status_code == 200
    assert type(row).objects.filter(pk=row.pk).exists()
    assert client.get(reverse(f"admin:releases_{name}_add")).status_code == 403


def test_a_security_release_passes_a_freeze_that_lets_it(fleet: Fleet, boss: User) -> None:
    fleet(1)
    freeze(boss)
    assert run(start(make_release("3.0.0", kind="security"), boss)).state == RolloutState.SUCCEEDED
    freeze(boss, lets_security_through=False)
    assert run(start(make_release("3.0.1", kind="security"), boss)).state == RolloutState.RUNNING


def test_a_freeze_of_another_account_concerns_nobody_here(fleet: Fleet, release: Release, boss: User) -> None:
    fleet(1)
    freeze(boss, account=make_account())
    assert run(start(release, boss)).state == RolloutState.SUCCEEDED
