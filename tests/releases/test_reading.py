"""Who sees a part of a rollout or of an exposure reads of that part alone: no names, reasons or numbers of the rest."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.access.models import User
from apps.fleet.models import Cell, Instance
from apps.releases.escalating import add_step, ask_before_deadlines
from apps.releases.exposing import import_advisory
from apps.releases.models import ClockStep, Freeze, Release, Rollout
from apps.releases.queries.rollouts import report
from apps.releases.rollouts import steer_target
from apps.releases.rules import add_freeze
from apps.releases.services import upload_sbom
from tests.factories import (
    as_system,
    grant,
    make_account,
    make_cell,
    make_instance,
    make_tenant,
    make_user,
    place,
)
from tests.releases.conftest import crash_on, make_release, run, start
from tests.releases.test_exposure import cyclonedx, osv

Fleet = Callable[[int], list[Instance]]
WHY = "as the test wants it"


@pytest.fixture
def there(db: None) -> Cell:
    return make_cell("far-cell", account=make_account("far", contact="far@example.com"))


@pytest.fixture
def vera(cell: Cell, client: Client) -> User:
    """Sees the account of `cell`, and no other."""
    user = make_user("vera")
    grant(user, "operator", "account", cell.region.account)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return user


@pytest.fixture
def failed(fleet: Fleet, there: Cell, release: Release, boss: User) -> Rollout:
    """A rollout over both accounts, of which one instance in the far one failed."""
    fleet(2)
    far = make_instance("far-secret", cell=there)
    place(make_tenant("far-tenant"), far)
    crash_on("2.0.0", [far])
    rollout = run(start(release, boss, canary="3", on_fail="abort"))
    assert "far-secret" in rollout.why
    return rollout


def test_gates_and_reasons_name_no_instance_that_is_not_seen(
    failed: Rollout, vera: User, client: Client
) -> None:
    page = client.get(reverse("releases:rollout", args=[failed.pk])).text
    said = client.get(reverse("releases:report", args=[failed.pk])).text
    for text in (page, said):
        assert "i-000" in text
        assert "far-secret" not in text
        assert "Could not be changed: instances, not all of which you see" in text
    assert report(vera, failed.pk)["waves"][0]["size"] == 2


def test_who_sees_all_of_it_reads_all(failed: Rollout, boss: User, client: Client) -> None:
    client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
    page = client.get(reverse("releases:rollout", args=[failed.pk])).text
    assert "Could not be changed: far-secret" in page
    assert "far-secret" in report(boss, failed.pk)["why"]
    assert report(boss, failed.pk)["waves"][0]["size"] == 3


def test_orders_about_what_is_not_seen_are_not_read(
    fleet: Fleet, there: Cell, release: Release, boss: User, vera: User, client: Client
) -> None:
    fleet(1)
    far = make_instance("far-secret", cell=there)
    rollout = start(release, boss, canary="1")
    steer_target(rollout.targets.get(instance=far), "skip", actor=boss, reason=WHY)
    assert "far-secret" not in client.get(reverse("releases:rollout", args=[rollout.pk])).text
    with as_system():
        Rollout.objects.filter(pk=rollout.pk).update(note="Blast radius: account far is full")
    assert "account far" not in client.get(reverse("releases:rollout", args=[rollout.pk])).text


def test_a_freeze_of_another_account_is_not_read(
    fleet: Fleet, cell: Cell, there: Cell, release: Release, boss: User, vera: User, client: Client
) -> None:
    fleet(1)
    make_instance("far-secret", cell=there)
    rollout = start(release, boss, canary="1")
    now = timezone.now()
    for name, account in (("far-merger", there.region.account), ("near", cell.region.account), ("all", None)):
        times = {"starts_at": now - timedelta(hours=1), "ends_at": now + timedelta(hours=1)}
        add_freeze(Freeze(name=name, account=account, reason=WHY, **times), actor=boss)
    page = client.get(reverse("releases:rollout", args=[rollout.pk])).text
    assert "Freeze “near”" in page
    assert "Freeze “all”" in page
    assert "far-merger" not in page


def test_who_was_asked_and_how_many_elsewhere_are_exposed_is_for_who_sees_everything(
    fleet: Fleet, there: Cell, boss: User, vera: User, client: Client
) -> None:
    fleet(1)
    make_instance("far-secret", cell=there)
    upload_sbom(make_release("1.0.0"), cyclonedx("pkg:pypi/django@4.2.1"), actor=boss)
    advisory = import_advisory(osv(), actor=boss)
    add_step(ClockStep(percent=50, name="the ciso", address="ciso@example.com"), actor=boss, reason=WHY)
    with time_machine.travel(advisory.known_at + timedelta(hours=13), tick=True):
        assert ask_before_deadlines() == 1
        url = reverse("releases:advisory", args=[advisory.pk])
        client.force_login(vera, backend="django.contrib.auth.backends.ModelBackend")
        page = client.get(url).text
        assert "50 % of the time" in page
        for hidden in ("far@example.com", "ciso@example.com", "2 instances", "nobody is named"):
            assert hidden not in page, hidden
        client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
        page = client.get(url).text
        assert "ciso@example.com" in page
        assert "far@example.com" in page
