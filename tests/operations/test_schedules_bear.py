"""One schedule that cannot be borne, and the others behind it."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.utils import timezone

from apps.access.models import User
from apps.core.models import Event
from apps.fleet.models import Instance
from apps.operations import batches, services, ticks, upkeep
from apps.operations.management.commands import run_scheduler
from apps.operations.models import Operation, Schedule
from tests.factories import as_system, make_user


def make_schedule(name: str, instance: Instance, owner: User, **fields: Any) -> Schedule:
    due = timezone.now() - timedelta(minutes=1)
    values = {
        "kind": "restart",
        "cron": "0 3 * * *",
        "zone": "UTC",
        "reason": "weekly",
        "next_at": due,
        **fields,
    }
    with as_system():
        return Schedule.objects.create(name=name, target_id=instance.pk, owner=owner, **values)


@pytest.mark.parametrize("fields", [{"params": ["version"]}, {"zone": "Europe/Atlantis"}], ids=str)
def test_the_others_are_submitted(fields: dict[str, Any], instance: Instance, operator: User) -> None:
    bad = make_schedule("a", instance, operator, **fields)
    make_schedule("b", instance, operator)
    upkeep.submit_scheduled()
    assert Operation.objects.filter(reason__startswith="schedule “b”").count() == 1
    bad.refresh_from_db()
    assert bad.last_error
    assert bad.next_at is not None
    assert bad.next_at > timezone.now()


def test_parameters_that_are_no_names_with_values_are_refused(instance: Instance, operator: User) -> None:
    schedule = make_schedule("a", instance, operator)
    schedule.params = ["version"]  # type: ignore[assignment]
    with pytest.raises(ValidationError, match="names with values"):
        schedule.full_clean()


@pytest.mark.django_db(transaction=True)
def test_the_clock_goes_on_when_schedules_or_a_tick_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    command, sent = run_scheduler.Command(), []
    command.stopping = False

    def fail() -> None:
        raise RuntimeError("broken")

    def stop() -> None:
        sent.append("probe")
        command.stopping = True

    monkeypatch.setattr(upkeep, "submit_scheduled", fail)
    monkeypatch.setattr(ticks, "_ticks", {n: ticks.Tick(n, 60, s) for n, s in (("a", fail), ("b", stop))})
    command._work_or_stand_by()
    assert sent == ["probe"]


def test_switching_on_what_its_owner_may_not_do_any_more_is_told(instance: Instance, client: Client) -> None:
    schedule = make_schedule("a", instance, make_user(), is_enabled=False)
    client.force_login(make_user(superuser=True))
    answer = client.post(f"/operations/schedules/{schedule.pk}/switch/", {"on": "1"}, follow=True)
    assert answer.status_code == 200
    assert "may not do this there" in answer.content.decode()
    schedule.refresh_from_db()
    assert not schedule.is_enabled


@pytest.mark.parametrize("target", ["#²", "#99999999999999999999999"])
def test_a_number_that_is_none_is_refused(target: str, operator: User, client: Client) -> None:
    client.force_login(operator)
    form = {
        "name": "a",
        "kind": "restart",
        "target": target,
        "cron": "0 3 * * *",
        "zone": "UTC",
        "reason": "weekly",
    }
    assert client.post("/operations/schedules/new/", form).status_code == 422


def test_a_refusal_is_told_once_by_two_schedulers(
    instance: Instance, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have read it as due; the first one moves it on."""
    bad = make_schedule("a", instance, operator, zone="Europe/Atlantis")
    stale = Schedule.objects.get(pk=bad.pk)
    now = timezone.now()
    for _ in range(2):
        upkeep._move_on(stale, stale.next_at, now, "it may not")
    assert Event.objects.filter(kind="schedule.refused").count() == 1


def test_a_batch_of_a_kind_that_is_gone_can_be_cancelled(instance: Instance, operator: User) -> None:
    done = services.submit_many(
        kind="restart", target_ids=[instance.pk], params={}, actor=operator, reason="before the upgrade"
    )
    assert done.batch is not None
    with connection.cursor() as cursor:
        cursor.execute("UPDATE operations_operation SET kind = 'gone'")
        cursor.execute("UPDATE operations_batch SET kind = 'gone'")
    done.batch.refresh_from_db()
    assert batches.cancel_waiting(done.batch, actor=operator, reason="nobody knows it any more") == 1
    assert Operation.objects.get().state == "cancelled"
