"""⌘K: tenants, accounts, pages, people; each only for who may."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from apps.access.models import User
from apps.core import palette
from tests import factories as make

pytestmark = pytest.mark.django_db


def kinds(user: User, text: str) -> set[tuple[str, str]]:
    return {(hit.kind, hit.label) for hit in palette.search(user, text, limit=50)}


@pytest.fixture
def viewer() -> User:
    user = make.make_user("viewer")
    make.grant(user, "viewer")
    return user


def test_it_finds_tenants_with_what_matched(viewer: User) -> None:
    tenant = make.make_tenant("northwind", name="Northwind Traders")
    hit = next(hit for hit in palette.search(viewer, "nortwhind") if hit.kind == "Tenant")
    assert hit.label == "Northwind Traders"
    assert hit.url == reverse("tenants:tenant", args=[tenant.pk])
    assert "Basic" in hit.detail


def test_it_finds_accounts_in_scope_only(viewer: User) -> None:
    mine, other = make.make_account("zeta-eu", external_id="4711"), make.make_account("zeta-us")
    assert {("Account", "zeta-eu"), ("Account", "zeta-us")} <= kinds(viewer, "zeta")
    assert ("Account", "zeta-eu") in kinds(viewer, "4711")
    narrow = make.make_user("narrow")
    make.grant(narrow, "viewer", "account", mine)
    assert ("Account", "zeta-eu") in kinds(narrow, "zeta")
    assert ("Account", other.name) not in kinds(narrow, "zeta")


def test_it_finds_pages(viewer: User) -> None:
    assert ("Page", "Go to Fleet") in kinds(viewer, "fleet")
    assert ("Page", "Go to Tenants") in kinds(viewer, "go to ten")
    assert ("Page", "Go to Tenants") not in kinds(viewer, "enants")
    assert ("Page", "Go to Audit") not in kinds(viewer, "audit")


def test_it_finds_people_for_who_manages_access(viewer: User) -> None:
    make.make_user("ada", first_name="Ada", last_name="Lovelace", email="ada@example.com")
    manager = make.make_user("manager")
    make.grant(manager, "admin")
    for text in ("ada@example.com", "lovelace", "ada"):
        assert ("Person", "Ada Lovelace") in kinds(manager, text)
        assert ("Person", "Ada Lovelace") not in kinds(viewer, text)
    assert ("Person", "command") not in kinds(manager, "system:command")


def test_best_first_and_limited(viewer: User) -> None:
    for number in range(20):
        make.make_tenant(f"zebra-{number}", name=f"Zebra {number}")
    make.make_tenant("zebra", name="Zebra")
    hits = palette.search(viewer, "zebra")
    assert len(hits) == 12
    assert hits[0].label == "Zebra"
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.parametrize(
    "text", ["", "   ", "\x00", "%", "'", "x" * 5000, "(((", "\\", "😀", "#", "00", "9" * 300]
)
def test_odd_text_is_harmless(viewer: User, client: Client, text: str) -> None:
    client.force_login(viewer)
    assert client.get(reverse("core:palette"), {"q": text}).status_code == 200


def test_the_page_and_its_part(viewer: User, client: Client) -> None:
    make.make_tenant("northwind", name="Northwind <b>Traders")
    client.force_login(viewer)
    page = client.get(reverse("core:palette"), {"q": "northwind"}).content.decode()
    part = client.get(
        reverse("core:palette"), {"q": "northwind"}, headers={"HX-Request": "true"}
    ).content.decode()
    assert "<html" in page
    assert "<html" not in part
    for answer in (page, part):
        assert "Northwind &lt;b&gt;Traders" in answer
        assert 'class="hits"' in answer  # the dialog's script makes options of them


def test_who_reaches_it(viewer: User, client: Client) -> None:
    url = reverse("core:palette")
    assert client.get(url).status_code == 302
    client.force_login(make.make_user("nothing"))
    assert client.get(url).status_code == 403
    client.force_login(viewer)
    assert client.post(url).status_code == 405
