"""Schedules: each is its owner's, and runs with its owner's rights."""

from datetime import UTC, datetime

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from apps.operations import upkeep
from apps.operations.models import Operation, Schedule
from tests.factories import as_system, grant, make_account, make_instance, make_user

pytestmark = pytest.mark.django_db(transaction=True)
URL = "/operations/schedules/"


def signed_in(user):
    client = Client()
    client.force_login(user)
    return client


def person(role="operator", scope="everything", obj=None):
    user = make_user()
    grant(user, role, scope, obj)
    return user


def fields(instance, **more):
    return {
        "name": "weekly restart",
        "kind": "restart",
        "target": instance.name,
        "cron": "0 3 * * 1",
        "zone": "Europe/Berlin",
        "reason": "it leaks",
        "is_enabled": "on",
        **more,
    }


def make_schedule(owner, instance, **more):
    values = {"name": f"of {owner}", "kind": "restart", "cron": "0 3 * * 1", "reason": "it leaks", **more}
    with as_system():
        return Schedule.objects.create(owner=owner, target_id=instance.pk, **values)


@time_machine.travel(datetime(2026, 7, 1, 12, tzinfo=UTC), tick=False)
def test_it_makes_one_of_ones_own_and_knows_when_it_is_due():
    user, instance = person(), make_instance()
    response = signed_in(user).post(f"{URL}new/", fields(instance))
    assert response.status_code == 302
    schedule = Schedule.objects.get()
    assert (schedule.owner, schedule.target_id, schedule.target_type) == (user, instance.pk, "instance")
    assert schedule.next_at == datetime(2026, 7, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"cron": "every monday"}, "is no cron line"),
        ({"zone": "Mars/Olympus"}, "is no time zone"),
        ({"target": "no-such"}, "There is no instance “no-such” that you can see"),
        ({"reason": ""}, "required"),
        ({"kind": "explode"}, "Select a valid choice"),
    ],
)
def test_bad_input_is_told_and_makes_nothing(wrong, words):
    response = signed_in(person()).post(f"{URL}new/", fields(make_instance(), **wrong))
    assert response.status_code == 422
    assert words in response.content.decode()
    assert not Schedule.objects.exists()


def test_what_its_owner_may_not_do_cannot_be_scheduled():
    response = signed_in(person("viewer")).post(f"{URL}new/", fields(make_instance()))
    assert response.status_code == 422
    assert "Start, stop, restart" in response.content.decode()
    assert not Schedule.objects.exists()


def test_a_target_outside_ones_scopes_is_not_found():
    user = person("operator", "account", make_account())
    response = signed_in(user).post(f"{URL}new/", fields(make_instance()))
    assert response.status_code == 422
    assert not Schedule.objects.exists()


def test_when_its_owner_lost_the_permission_it_submits_nothing_and_says_so():
    owner, instance = make_user(), make_instance()
    make_schedule(owner, instance, next_at=datetime(2026, 7, 6, 1, tzinfo=UTC))
    upkeep.submit_scheduled(datetime(2026, 7, 6, 1, 1, tzinfo=UTC))
    assert not Operation.objects.exists()
    assert "no such instance" in Schedule.objects.get().last_error.lower()


def test_one_sees_ones_own_and_who_sees_everything_sees_all():
    instance = make_instance()
    owner, other, viewer = person(), person("operator", "account", make_account()), person("viewer")
    make_schedule(owner, instance)
    assert [line.may_change for line in signed_in(owner).get(URL).context["lines"]] == [True]
    assert signed_in(other).get(URL).context["lines"] == []
    assert [line.may_change for line in signed_in(viewer).get(URL).context["lines"]] == [False]


@pytest.mark.parametrize("name", ["schedule", "switch_schedule", "delete_schedule"])
def test_anothers_schedule_does_not_exist_for_who_cannot_see_it(name):
    schedule = make_schedule(person(), make_instance())
    client = signed_in(person("operator", "account", make_account()))
    assert client.post(reverse(f"operations:{name}", args=[schedule.pk])).status_code == 404
    assert Schedule.objects.get().is_enabled


@pytest.mark.parametrize("name", ["schedule", "switch_schedule", "delete_schedule"])
def test_who_only_sees_it_cannot_change_it(name):
    schedule = make_schedule(person(), make_instance())
    assert (
        signed_in(person("viewer")).post(reverse(f"operations:{name}", args=[schedule.pk])).status_code == 403
    )
    assert Schedule.objects.get().is_enabled


@pytest.mark.parametrize("name", ["switch_schedule", "delete_schedule"])
def test_switching_and_deleting_take_post_only(name):
    owner = person()
    schedule = make_schedule(owner, make_instance())
    assert signed_in(owner).get(reverse(f"operations:{name}", args=[schedule.pk])).status_code == 405


def test_it_rests_and_runs_again():
    owner = person()
    schedule = make_schedule(owner, make_instance())
    client, url = signed_in(owner), reverse("operations:switch_schedule", args=[schedule.pk])
    client.post(url, {"on": "0"})
    schedule.refresh_from_db()
    assert (schedule.is_enabled, schedule.next_at) == (False, None)
    client.post(url, {"on": "1"})
    schedule.refresh_from_db()
    assert schedule.is_enabled
    assert schedule.next_at is not None


def test_it_is_changed_in_place_and_stays_its_owners():
    owner, instance = person(), make_instance()
    schedule = make_schedule(owner, instance)
    admin = person("admin")
    url = reverse("operations:schedule", args=[schedule.pk])
    assert instance.name in signed_in(admin).get(url).content.decode()
    assert signed_in(admin).post(url, fields(instance, cron="0 4 * * *")).status_code == 302
    schedule.refresh_from_db()
    assert (schedule.cron, schedule.owner) == ("0 4 * * *", owner)


def test_it_is_deleted_and_what_it_did_stays():
    owner, instance = person(), make_instance()
    schedule = make_schedule(owner, instance, next_at=datetime(2026, 7, 6, 1, tzinfo=UTC))
    upkeep.submit_scheduled(datetime(2026, 7, 6, 1, 1, tzinfo=UTC))
    signed_in(owner).post(reverse("operations:delete_schedule", args=[schedule.pk]))
    assert not Schedule.objects.exists()
    assert Operation.objects.get().via == "schedule"


def test_it_asks_who_is_not_signed_in_to_sign_in():
    assert Client().get(URL).status_code == 302
    assert Client().post(f"{URL}new/").status_code == 302
