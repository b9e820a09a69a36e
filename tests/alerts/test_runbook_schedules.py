"""Runbooks by the clock: once for each due time, with the rights of who kept it, over clock changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.test import Client
from django.utils import timezone

from apps.access.models import Grant, User
from apps.access.services import take_grant
from apps.alerts.models import Runbook, RunbookRun, RunbookSchedule
from apps.alerts.runbooks import keeping, scheduling
from apps.alerts.runbooks.reading import Malformed
from apps.core.models import Event
from apps.fleet.models import Instance
from tests.meta.world import RUNBOOK

Many = Callable[[int], list[Instance]]
NIGHT = datetime(2026, 6, 1, 3, 0, tzinfo=UTC)


@pytest.fixture
def book(boss: User) -> Runbook:
    return keeping.save(RUNBOOK, note="", actor=boss)


def made(book: Runbook, instance: Instance, owner: User, **fields: object) -> RunbookSchedule:
    values = {"name": "weekly", "cron": "0 3 * * *", "reason": "keeps it fresh", **fields}
    return scheduling.save(RunbookSchedule(runbook=book, instance=instance, **values), actor=owner)


def due(schedule: RunbookSchedule, at: datetime) -> None:
    RunbookSchedule.objects.filter(pk=schedule.pk).unrecorded_update(next_at=at)


def test_it_runs_once_for_each_due_time(book: Runbook, olga: User, instances: Many) -> None:
    (one,) = instances(1)
    schedule = made(book, one, olga)
    assert scheduling.start_due(timezone.now()) == 0
    due(schedule, NIGHT)
    assert scheduling.start_due(NIGHT + timedelta(seconds=1)) == 1
    run = RunbookRun.objects.get()
    assert (run.actor, run.instance, run.reason) == (olga, one, "schedule “weekly”: keeps it fresh")
    schedule.refresh_from_db()
    assert schedule.next_at == NIGHT + timedelta(days=1)
    due(schedule, NIGHT)  # a worker died before it moved on, or a second one is at it
    scheduling.start_due(NIGHT + timedelta(seconds=2))
    assert RunbookRun.objects.count() == 1


def test_what_was_missed_is_made_up_for_once(book: Runbook, olga: User, instances: Many) -> None:
    schedule = made(book, instances(1)[0], olga)
    due(schedule, NIGHT)
    later = NIGHT + timedelta(days=9, hours=1)
    assert scheduling.start_due(later) == 1
    assert scheduling.start_due(later) == 0
    schedule.refresh_from_db()
    assert schedule.next_at == NIGHT + timedelta(days=10)


def test_a_clock_that_jumps_back_runs_nothing_twice(book: Runbook, olga: User, instances: Many) -> None:
    """The hour that comes twice, and a clock that was set back."""
    schedule = made(book, instances(1)[0], olga, cron="30 2 * * *", zone="Europe/Berlin")
    due(schedule, datetime(2026, 10, 25, 0, 30, tzinfo=UTC))  # 02:30 the first time
    for minutes in (0, 60, -30, 90):
        scheduling.start_due(datetime(2026, 10, 25, 0, 31, tzinfo=UTC) + timedelta(minutes=minutes))
    assert RunbookRun.objects.count() == 1


def test_it_has_the_rights_its_owner_has_then(book: Runbook, boss: User, olga: User, instances: Many) -> None:
    (one,) = instances(1)
    schedule = made(book, one, olga)
    take_grant(Grant.objects.get(user=olga), actor=boss, reason="left the team")
    due(schedule, NIGHT)
    assert scheduling.start_due(NIGHT) == 0
    schedule.refresh_from_db()
    assert schedule.last_error
    assert schedule.next_at == NIGHT + timedelta(days=1)
    assert Event.objects.filter(kind="runbook.refused", instance_id=one.pk).count() == 1
    assert not RunbookRun.objects.exists()


def test_what_makes_no_sense_is_refused(book: Runbook, olga: User, instances: Many) -> None:
    (one,) = instances(1)
    for fields in ({"cron": "61 * * * *"}, {"cron": "never"}, {"zone": "Mars/Base"}, {"reason": ""}):
        with pytest.raises(ValidationError):
            made(book, one, olga, **fields)
    with pytest.raises(Malformed):
        made(book, one, olga, inputs={"odd": 1})
    assert not RunbookSchedule.objects.exists()


def test_who_may_not_run_it_may_not_schedule_it(book: Runbook, instances: Many) -> None:
    from tests.factories import grant, make_user

    (one,) = instances(1)
    viewer = make_user("vera")
    grant(viewer, "viewer", "account", one.cell.region.account)
    with pytest.raises(PermissionDenied):
        made(book, one, viewer)


def test_by_the_pages(client: Client, book: Runbook, olga: User, instances: Many) -> None:
    (one,) = instances(1)
    client.force_login(olga)
    new = "/alerts/runbooks/schedules/new/"
    assert f'value="{one.name}"' in client.get(new, {"instance": one.name}).content.decode()
    sent = {
        "name": "nightly",
        "runbook": book.pk,
        "on": one.name,
        "cron": "0 3 * * *",
        "zone": "UTC",
        "reason": "fresh",
    }
    assert client.post(new, {**sent, "on": "nobody"}).status_code == 422
    assert client.post(new, {**sent, "given": "odd=1"}).status_code == 422
    assert client.post(new, {**sent, "cron": "x"}).status_code == 422
    assert client.post(new, sent).status_code == 302
    schedule = RunbookSchedule.objects.get()
    assert (schedule.owner, schedule.instance) == (olga, one)
    assert "nightly" in client.get("/alerts/runbooks/schedules/").content.decode()
    page = f"/alerts/runbooks/schedules/{schedule.pk}/"
    assert one.name in client.get(page).content.decode()
    assert client.post(page, {**sent, "cron": "0 4 * * *"}).status_code == 302
    assert client.post(f"{page}switch/", {"on": "0"}).status_code == 302
    schedule.refresh_from_db()
    assert (schedule.cron, schedule.is_enabled) == ("0 4 * * *", False)
    due(schedule, NIGHT)
    assert scheduling.start_due(NIGHT) == 0
    assert client.post(f"{page}switch/", {"on": "1"}).status_code == 302
    schedule.refresh_from_db()
    assert schedule.is_enabled
    assert schedule.next_at is not None
    assert schedule.next_at > timezone.now(), "what it missed while it was off is not made up for"
