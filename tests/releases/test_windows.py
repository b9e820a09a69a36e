"""Maintenance windows by the tenant's clock, a rollout scheduled for later, newcomers, and the calendar that shows them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from apps.access import hands
from apps.access.choices import HandKind
from apps.access.models import User
from apps.core.models import Event
from apps.fleet.models import Cell, Instance
from apps.operations.models import Operation
from apps.operations.services import Refused
from apps.releases import driving
from apps.releases.choices import RolloutState, TargetState
from apps.releases.models import Release, Rollout, Window
from apps.releases.rollouts import prepare_rollout, steer
from apps.releases.rules import add_window, agree_window, remove_window
from apps.releases.scheduling import schedule_start, start_due, take_in_newcomers
from apps.releases.standing import shut_tenants
from apps.releases.windows import openings, opens_next
from apps.tenants.models import Tenant
from tests.factories import as_system, grant, make_instance, make_tenant, make_user, place
from tests.releases.conftest import make_release, run, start

Fleet = Callable[[int], list[Instance]]
BERLIN = ZoneInfo("Europe/Berlin")


def window(tenant: str, actor: User, *, zone: str = "Europe/Berlin", **more: object) -> Window:
    found = Tenant.objects.get(key=tenant)
    with as_system():
        found.zone = zone
        found.save()
    values = {"days": [5], "opens_at": time(22), "minutes": 120, **more}
    return add_window(Window(tenant=found, **values), actor=actor)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("opens", "starts", "ends"),
    [
        (time(22), "2026-11-28T21:00", "2026-11-28T23:00"),
        (time(23, 30), "2026-11-28T22:30", "2026-11-29T00:30"),
    ],
)
def test_a_window_opens_by_the_tenants_clock_and_may_last_past_midnight(
    opens: time, starts: str, ends: str
) -> None:
    week = openings(([5], opens, 120), BERLIN, at("2026-11-23T00:00"), at("2026-11-30T00:00"))
    assert list(week) == [(at(starts), at(ends))]


def test_when_clocks_change_it_opens_all_the_same_and_lasts_as_long() -> None:
    spring = openings(([6], time(2, 30), 60), BERLIN, at("2026-03-28T12:00"), at("2026-03-30T00:00"))
    assert list(spring) == [(at("2026-03-29T01:30"), at("2026-03-29T02:30"))]
    autumn = openings(([6], time(2, 30), 60), BERLIN, at("2026-10-24T12:00"), at("2026-10-26T00:00"))
    assert list(autumn) == [(at("2026-10-25T00:30"), at("2026-10-25T01:30"))]


@given(
    days=st.sets(st.integers(0, 6), min_size=1),
    opens=st.times(),
    minutes=st.integers(15, 1_440),
    now=st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1)),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
)
def test_one_opens_within_eight_days_and_is_open_from_then_on(
    days: set[int], opens: time, minutes: int, now: datetime, zone: str
) -> None:
    here, moment = ZoneInfo(zone), now.replace(tzinfo=UTC)
    found = opens_next([(sorted(days), opens, minutes)], here, moment)
    assert found is not None
    assert found <= moment + timedelta(days=8)
    again = opens_next([(sorted(days), opens, minutes)], here, max(found, moment))
    assert again is not None
    assert again <= max(found, moment)


def test_an_instance_waits_for_its_window_and_says_so_while_others_go_on(
    fleet: Fleet, release: Release, boss: User
) -> None:
    fleet(3)
    window("t-001", boss)
    with time_machine.travel(at("2026-11-28T20:30"), tick=True):
        rollout = run(start(release, boss, canary="3"))
        waiting = rollout.targets.get(state=TargetState.WAITING)
        assert waiting.instance.name == "i-001"
        assert "opens 2026-11-28 22:00 Europe/Berlin (21:00 UTC)" in waiting.why
        assert rollout.targets.filter(state=TargetState.DONE).count() == 2
        assert rollout.state == RolloutState.RUNNING
    with time_machine.travel(at("2026-11-28T21:01"), tick=True):
        assert run(rollout).state == RolloutState.SUCCEEDED


def test_those_that_wait_for_windows_keep_nobody_from_their_turn(
    fleet: Fleet, release: Release, boss: User
) -> None:
    fleet(8)
    for number in range(4):
        window(f"t-00{number}", boss)
    with time_machine.travel(at("2026-11-25T12:00"), tick=True):
        rollout = run(start(release, boss, canary="8", concurrency=1))
    assert rollout.targets.filter(state=TargetState.DONE).count() == 4


def test_a_security_release_waits_only_where_the_window_says_so(fleet: Fleet, boss: User) -> None:
    fleet(2)
    window("t-000", boss)
    window("t-001", boss, lets_security_through=False)
    with time_machine.travel(at("2026-11-25T12:00"), tick=True):
        rollout = run(start(make_release("3.0.0", kind="security"), boss, canary="2"))
    assert rollout.targets.get(state=TargetState.DONE).instance.name == "i-000"
    assert rollout.targets.get(state=TargetState.WAITING).instance.name == "i-001"


def test_windows_are_checked_and_take_the_permission(fleet: Fleet, boss: User, second: User) -> None:
    fleet(1)
    for wrong in ({"days": [7]}, {"days": []}, {"minutes": 5}):
        with pytest.raises(ValidationError):
            window("t-000", boss, **wrong)
    found = window("t-000", boss)
    vera = make_user("vera")
    grant(vera, "viewer")
    with pytest.raises(PermissionDenied):
        remove_window(found, actor=vera, reason="not mine")
    with pytest.raises((PermissionDenied, Http404)):
        window("t-000", make_user("nobody"))
    remove_window(found, actor=boss, reason="it may be changed at any time")
    remove_window(found, actor=boss, reason="a doubled click")
    assert Window.objects.get().asked_by == boss
    remove_window(found, actor=second, reason="it may")
    assert not Window.objects.exists()
    with pytest.raises(Refused, match="gone"):
        remove_window(found, actor=second, reason="a doubled click")


def test_what_widens_the_week_takes_two(fleet: Fleet, boss: User, second: User) -> None:
    fleet(1)
    first = window("t-000", boss)
    assert first.is_on
    further = window("t-000", boss, days=[0, 1, 2, 3, 4, 5, 6], opens_at="00:00", minutes=1_440)
    assert not further.is_on
    with time_machine.travel(at("2026-11-25T12:00"), tick=True):
        assert shut_tenants(make_release("4.0.0"))
    with pytest.raises(PermissionDenied, match="alone"):
        agree_window(further, actor=boss)
    hands.note(by=boss, how=HandKind.MADE, words="boss made the account of third", people=[make_third().pk])
    with pytest.raises(PermissionDenied, match="do not count as two persons"):
        agree_window(further, actor=User.objects.get(username="third"))
    assert agree_window(further, actor=second).is_on
    with pytest.raises(Refused, match="counts already"):
        agree_window(further, actor=second)
    remove_window(further, actor=boss, reason="narrower again, which takes nobody else")
    assert list(Window.objects.all()) == [first]


def make_third() -> User:
    third = make_user("third")
    grant(third, "admin")
    return third


def test_the_last_one_that_security_waits_for_takes_two(fleet: Fleet, boss: User) -> None:
    fleet(1)
    strict = window("t-000", boss, lets_security_through=False)
    lax = window("t-000", boss, opens_at="20:00")
    with as_system():
        lax.is_on, lax.asked_by = True, None
        lax.save()
    remove_window(strict, actor=boss, reason="in the way")
    assert Window.objects.filter(pk=strict.pk).exists()
    remove_window(lax, actor=boss, reason="not needed")
    assert not Window.objects.filter(pk=lax.pk).exists()


def prepared(release: Release, boss: User) -> Rollout:
    rollout = Rollout(release=release, reason="for tonight", canary="1", bake_seconds=0)
    prepare_rollout(rollout, actor=boss)
    return rollout


def test_it_starts_by_itself_in_the_name_of_who_said_so(fleet: Fleet, release: Release, boss: User) -> None:
    fleet(2)
    rollout = prepared(release, boss)
    schedule_start(rollout, at=timezone.now() + timedelta(hours=1), actor=boss, reason="at night")
    driving.advance_all()
    assert not Operation.objects.exists()
    with time_machine.travel(timezone.now() + timedelta(hours=1, minutes=1), tick=True):
        assert run(rollout).state == RolloutState.SUCCEEDED
    assert Operation.objects.filter(actor=boss).count() == 2


def test_one_that_may_not_start_is_told_and_left(fleet: Fleet, release: Release, boss: User) -> None:
    fleet(1)
    rollout = prepared(release, boss)
    schedule_start(rollout, at=timezone.now() + timedelta(hours=1), actor=boss, reason="at night")
    with as_system():
        Release.objects.filter(pk=release.pk).update(life="withdrawn")
    with time_machine.travel(timezone.now() + timedelta(hours=2), tick=True):
        assert start_due() == 0
        assert start_due() == 0
    rollout.refresh_from_db()
    assert (rollout.state, rollout.start_at) == (RolloutState.DRAFT, None)
    assert "withdrawn" in rollout.why
    assert Event.objects.filter(kind="rollout.not_started").count() == 1


def test_a_start_lies_in_the_future_and_can_be_taken_back(fleet: Fleet, release: Release, boss: User) -> None:
    fleet(1)
    rollout = prepared(release, boss)
    with pytest.raises(Refused, match="future"):
        schedule_start(rollout, at=timezone.now(), actor=boss, reason="too late")
    schedule_start(rollout, at=timezone.now() + timedelta(hours=1), actor=boss, reason="at night")
    schedule_start(rollout, at=None, actor=boss, reason="not this night")
    with time_machine.travel(timezone.now() + timedelta(hours=2), tick=True):
        assert start_due() == 0
    steer(rollout, "start", actor=boss, reason="now")
    with pytest.raises(Refused, match="no longer prepared"):
        schedule_start(rollout, at=timezone.now() + timedelta(hours=1), actor=boss, reason="again")


def test_newcomers_are_shown_and_taken_in_by_one_button(
    fleet: Fleet, release: Release, boss: User, cell: Cell, client: Client
) -> None:
    fleet(3)
    rollout = start(release, boss)
    late = make_instance("late", cell=cell)
    place(make_tenant("t-late"), late)
    client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
    page = client.get(reverse("releases:rollout", args=[rollout.pk]))
    assert page.context["page"].newcomers == 1
    url = reverse("releases:take_in", args=[rollout.pk])
    assert client.post(url, {"reason": "they are new"}).status_code == 302
    assert client.post(url, {"reason": "they are new"}).status_code == 422, "a second click adds nobody"
    assert [wave.size for wave in rollout.waves.all()] == [1, 2, 1]
    assert run(rollout).state == RolloutState.SUCCEEDED
    late.refresh_from_db()
    assert late.version == "2.0.0"
    with pytest.raises(Refused, match="succeeded"):
        take_in_newcomers(rollout, actor=boss, reason="once more")


def test_the_calendar_shows_windows_freezes_and_rollouts_to_who_sees_them(
    fleet: Fleet, release: Release, boss: User, client: Client
) -> None:
    fleet(2)
    with time_machine.travel(at("2026-11-25T12:00"), tick=True):
        window("t-000", boss)
        rollout = prepared(release, boss)
        schedule_start(rollout, at=at("2026-11-27T03:00"), actor=boss, reason="at night")
        client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
        shown = client.get(reverse("releases:calendar")).content.decode()
        assert "starts 03:00" in shown
        assert shown.count("21:00–23:00") == 4, "each of four Saturdays"
        for odd in ("garbage", "0001-01-01", "9999-12-31", "2026-02-30"):
            assert client.get(reverse("releases:calendar"), {"from": odd}).status_code == 200
        client.force_login(make_user("nobody"), backend="django.contrib.auth.backends.ModelBackend")
        hidden = client.get(reverse("releases:calendar")).content.decode()
        assert "21:00" not in hidden
        assert "starts 03:00" not in hidden
