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
from apps.releases.models import ClockStep, Freeze, Release, Rollout, Window
from apps.releases.queries.rollouts import report
from apps.releases.rollouts import prepare_rollout, steer, steer_target
from apps.releases.rules import add_freeze, add_window, set_hold
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


def test_who_sees_one_tenant_of_a_shared_instance_reads_nothing_of_the_others(
    cell: Cell, release: Release, boss: User, client: Client
) -> None:
    shared = make_instance("shared", cell=cell, kind="shared")
    own, other = make_tenant("own"), make_tenant("other", name="Other Secret")
    for tenant in (own, other):
        place(tenant, shared)
    upload_sbom(make_release("1.0.0"), cyclonedx("pkg:pypi/django@4.2.1"), actor=boss)
    advisory = import_advisory(osv(), actor=boss)
    set_hold(other, until=timezone.now() + timedelta(days=1), reason="their secret launch", actor=boss)
    tina = make_user("tina")
    grant(tina, "viewer", "tenant", own)
    rollout = Rollout(release=release, reason=WHY, canary="1", bake_seconds=0)
    prepare_rollout(rollout, actor=boss)
    urls = [reverse("releases:rollout", args=[rollout.pk]), reverse("releases:report", args=[rollout.pk])]
    urls.append(reverse("releases:advisory", args=[advisory.pk]))
    for person, is_told in ((tina, False), (boss, True)):
        client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
        assert ("Other Secret" in client.get(urls[0]).text) is is_told
    steer(rollout, "start", actor=boss, reason=WHY)
    run(rollout)
    for person, is_told in ((tina, False), (boss, True)):
        client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
        for url in urls:
            text = client.get(url).text
            assert "shared" in text
            assert ("secret launch" in text) is is_told, (person, url)


def test_the_rules_page_offers_to_end_what_the_reader_may_end(
    fleet: Fleet, cell: Cell, boss: User, vera: User, client: Client
) -> None:
    tenant = fleet(1)[0].placements.get().tenant
    hold = set_hold(tenant, until=timezone.now() + timedelta(days=1), reason=WHY, actor=boss)
    window = add_window(Window(tenant=tenant, days=[1], opens_at="22:00"), actor=boss)
    ends = [reverse("releases:end_hold", args=[hold.pk]), reverse("releases:end_window", args=[window.pk])]
    adds = [reverse("releases:add_hold"), reverse("releases:add_window")]
    freezes = reverse("releases:add_freeze")
    url = reverse("releases:rules")
    page = client.get(url).text
    assert "T 000" in page
    assert not any(one in page for one in ends + adds), (
        "an account's operator may look at its tenants, not change them"
    )
    assert freezes in page
    grant(vera, "operator", "tenant", tenant)
    page = client.get(url).text
    assert all(one in page for one in ends + adds)
    tom = make_user("tom")
    grant(tom, "operator", "tenant", tenant)
    client.force_login(tom, backend="django.contrib.auth.backends.ModelBackend")
    page = client.get(url).text
    assert all(one in page for one in ends + adds)
    assert freezes not in page
