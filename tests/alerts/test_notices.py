"""What goes on stands above the pages of what it is about."""

from __future__ import annotations

from collections.abc import Callable

from django.test import Client
from django.utils import timezone

from apps.access.models import User
from apps.alerts import notices
from apps.alerts.models import Alert, Incident
from apps.fleet.models import Cell, Instance
from tests.alerts.conftest import fail, mend, only_incident
from tests.factories import as_system, grant, make_cell, make_instance, make_tenant, make_user, place

Many = Callable[[int], list[Instance]]


def get(user: User, path: str) -> str:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client.get(path).content.decode()


def test_an_open_incident_stands_on_instance_tenant_and_overview(instances: Many, olga: User) -> None:
    (one,) = instances(1)
    tenant = make_tenant("acme")
    place(tenant, one)
    fail(one)
    link = f"/alerts/incidents/{only_incident().pk}/"
    paths = (f"/instances/{one.pk}/", f"/tenants/{tenant.pk}/", "/")
    for path in paths:
        page = get(olga, path)
        assert link in page, path
        assert "not acknowledged yet" in page
    mend(one)
    for path in paths[:2]:
        assert link not in get(olga, path)


def test_who_does_not_see_it_is_not_told(instances: Many, cell: Cell) -> None:
    (one,) = instances(1)
    fail(one)
    stranger = make_user("stranger")
    grant(stranger, "operator", "account", make_cell("elsewhere").region.account)
    assert notices.going_on(stranger) == []
    assert notices.on_instances(stranger, [one.pk]) == {}


def test_on_a_shared_instance_a_tenant_is_not_told_of_anothers(cell: Cell, olga: User) -> None:
    shared = make_instance(cell=cell, kind="shared")
    mine, other = make_tenant("mine"), make_tenant("other")
    place(mine, shared)
    place(other, shared)
    fail(shared)
    assert set(notices.on_tenants(olga, [mine.pk, other.pk])) == {mine.pk, other.pk}
    Alert.objects.update(tenant=other)
    assert set(notices.on_tenants(olga, [mine.pk, other.pk])) == {other.pk}


def test_the_worst_stand_first_however_many_came_after_them(olga: User, cell: Cell) -> None:
    with as_system():
        made = [
            Incident.objects.create(
                title=f"i-{n}", cause_key=f"x:{n}", severity="warning" if n else "critical"
            )
            for n in range(60)
        ]
    now = timezone.now()
    Alert.objects.bulk_create(
        Alert(fingerprint=i.title, source_name="x", name="X", severity=i.severity, cell=cell, account=cell.region.account, incident=i, opened_at=now, last_at=now)
        for i in made
    )  # fmt: skip
    assert notices.going_on(olga)[0].label == "i-0"
