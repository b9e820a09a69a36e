"""Who reaches the fleet's pages: page × reader × status, as one table."""

import pytest
from django.test import Client
from django.urls import reverse

from apps.access.models import User
from apps.fleet.models import Diagnostics
from tests.factories import as_system

from .conftest import World

#: URL name, what it needs, who is refused for want of the permission alone.
OF_INSTANCE = {
    "fleet:instance": "view",
    "fleet:instance_live": "view",
    "fleet:instance_charts": "view",
    "fleet:instance_metrics": "view",
    "fleet:instance_operations": "view",
    "fleet:instance_timeline": "view",
    "fleet:instance_log_page": "read_logs",
    "fleet:instance_logs": "read_logs",
    "fleet:instance_diagnostics": "diagnose",
}
LISTS = ("fleet:overview", "fleet:instances", "fleet:cells")


def get(client: Client, user: User, url: str) -> int:
    client.force_login(user)
    return client.get(url).status_code


@pytest.mark.parametrize(("name", "permission"), OF_INSTANCE.items())
def test_instance_pages(client: Client, world: World, name: str, permission: str) -> None:
    url = reverse(name, args=[world.one.pk])
    assert get(client, world.operator, url) == 200
    assert get(client, world.viewer, url) == (200 if permission == "view" else 403)
    assert get(client, world.stranger, url) == 404
    assert get(client, world.nobody, url) == 403
    assert client.post(url).status_code == 405


@pytest.mark.parametrize("name", LISTS)
def test_lists(client: Client, world: World, name: str) -> None:
    url = reverse(name)
    for user in (world.operator, world.viewer, world.stranger):
        assert get(client, user, url) == 200
    assert get(client, world.nobody, url) == 403
    assert client.post(url).status_code == 405


def test_cell_page(client: Client, world: World) -> None:
    url = reverse("fleet:cell", args=[world.cell.pk])
    assert get(client, world.operator, url) == 200
    assert get(client, world.viewer, url) == 200
    assert get(client, world.stranger, url) == 404
    assert client.post(url).status_code == 405


@pytest.mark.parametrize("name", [*OF_INSTANCE, "fleet:cell"])
def test_anonymous_is_sent_to_sign_in(client: Client, world: World, name: str) -> None:
    url = reverse(name, args=[world.cell.pk if name == "fleet:cell" else world.one.pk])
    assert client.get(url).status_code == 302
    assert client.get(url, headers={"HX-Request": "true"}).status_code == 401


@pytest.mark.parametrize("kind", ["zip", "txt"])
def test_download_of_a_bundle(client: Client, world: World, kind: str) -> None:
    with as_system():
        bundle = Diagnostics.objects.create(
            instance=world.one, operation_id=7, parts={"logs": "a line"}, size=6
        )
    url = reverse("fleet:diagnostics", args=[bundle.pk, kind])
    assert get(client, world.operator, url) == 200
    assert get(client, world.viewer, url) == 403
    assert get(client, world.stranger, url) == 404


def test_tenants_reader_sees_a_shared_instance_but_not_its_logs(client: Client, world: World) -> None:
    from tests.factories import grant, make_instance, make_tenant, make_user, place

    shared = make_instance("shared-1", cell=world.cell, kind="shared")
    mine, other = make_tenant("mine", name="Mine Ltd"), make_tenant("other-tenant", name="Other Ltd")
    place(mine, shared)
    place(other, shared)
    reader = make_user("tina")
    grant(reader, "operator", "tenant", mine)
    client.force_login(reader)
    page = client.get(reverse("fleet:instance", args=[shared.pk])).content.decode()
    assert "Mine Ltd" in page
    assert "Other Ltd" not in page
    assert "Restart" not in page
    assert client.get(reverse("fleet:instance_log_page", args=[shared.pk])).status_code == 403
    listed = client.get(reverse("fleet:instances"), {"q": "Other Ltd"}).content.decode()
    assert "shared-1" not in listed
