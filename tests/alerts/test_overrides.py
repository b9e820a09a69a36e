"""Somebody stands in, and it says so everywhere."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.utils import timezone

from apps.access.models import User
from apps.alerts import managing, overriding, rotations
from apps.alerts.models import OnCallOverride, OnCallSchedule
from apps.alerts.services import Refused


@pytest.fixture
def turns(boss: User) -> OnCallSchedule:
    return managing.save_schedule(
        OnCallSchedule(name="first line", starts_on=date(2020, 1, 1)), people=[boss], actor=boss
    )


def stand_in(
    schedule: OnCallSchedule, user: User, actor: User, *, begins: int = 0, hours: int = 4
) -> OnCallOverride:
    at = timezone.now().replace(microsecond=0) + timedelta(hours=begins)
    return overriding.stand_in(
        schedule=schedule,
        user=user,
        starts_at=at,
        ends_at=at + timedelta(hours=hours),
        reason="swapped",
        actor=actor,
    )


def test_who_stands_in_is_on_call_and_not_afterwards(turns: OnCallSchedule, boss: User, olga: User) -> None:
    stand_in(turns, olga, olga)
    now = timezone.now()
    assert rotations.on_call(turns, now) == olga
    assert rotations.on_call(turns, now + timedelta(hours=5)) == boss


def test_twice_is_once(turns: OnCallSchedule, olga: User) -> None:
    at = timezone.now()
    asked = {"starts_at": at, "ends_at": at + timedelta(hours=1), "reason": "swapped"}
    one = overriding.stand_in(schedule=turns, user=olga, actor=olga, **asked)
    assert overriding.stand_in(schedule=turns, user=olga, actor=olga, **asked) == one


def test_only_who_manages_all_puts_another_on_call(turns: OnCallSchedule, boss: User, olga: User) -> None:
    with pytest.raises(PermissionDenied):
        stand_in(turns, boss, olga)
    stand_in(turns, olga, boss)


def test_what_makes_no_sense_is_refused(turns: OnCallSchedule, olga: User) -> None:
    for begins, hours in ((0, 0), (0, -1), (-9, 1), (0, 24 * 40)):
        with pytest.raises(Refused):
            stand_in(turns, olga, olga, begins=begins, hours=hours)
    assert not OnCallOverride.objects.exists()


def test_it_ends_now_or_never_begins(turns: OnCallSchedule, boss: User, olga: User) -> None:
    now, later = stand_in(turns, olga, olga), stand_in(turns, olga, olga, begins=24)
    for found in (now, later):
        overriding.end_override(found, actor=olga)
    assert OnCallOverride.objects.get() == now
    assert rotations.on_call(turns, timezone.now()) == boss
    with pytest.raises(Refused):
        overriding.end_override(now, actor=olga)


def test_another_may_not_end_it(turns: OnCallSchedule, boss: User, olga: User) -> None:
    with pytest.raises(PermissionDenied):
        overriding.end_override(stand_in(turns, boss, boss), actor=olga)


def test_by_the_page(turns: OnCallSchedule, olga: User) -> None:
    client = Client()
    client.force_login(olga, backend="django.contrib.auth.backends.ModelBackend")
    at = timezone.now()
    data = {
        "schedule": turns.pk, "person": "olga", "reason": "swapped with the boss",
        "starts_at": f"{at:%Y-%m-%dT%H:%M}", "ends_at": f"{at + timedelta(hours=2):%Y-%m-%dT%H:%M}",
    }  # fmt: skip
    assert client.post("/alerts/on-call/overrides/new/", data).status_code == 302
    page = client.get("/alerts/on-call/overrides/").content.decode()
    assert "swapped with the boss" in page
    assert "now" in page
    assert client.post("/alerts/on-call/overrides/new/", {**data, "person": "nobody"}).status_code == 422
