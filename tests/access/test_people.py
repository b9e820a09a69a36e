"""The access page: who sees it, who may give and take what, on what."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from apps.access.models import Grant, User
from apps.access.scoping import holds, scopes_of
from apps.accounts.models import Account
from apps.audit.models import AuditEntry
from tests import factories

pytestmark = pytest.mark.django_db


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def chief() -> User:
    user = factories.make_user("chief")
    factories.grant(user, "admin")
    return user


@pytest.fixture
def account() -> Account:
    return factories.make_account("eu")


@pytest.fixture
def lead(account: Account) -> User:
    """Manages the access of one account, and may see and restart there."""
    user = factories.make_user("lead")
    factories.make_role("lead", ["view", "restart", "manage_access"])
    factories.make_role("restarter", ["view", "restart"])
    factories.grant(user, "lead", "account", account)
    return user


@pytest.fixture
def ada() -> User:
    return factories.make_user("ada")


def give(by: User, to: User, role: str, kind: str = "everything", name: str = "", **more: Any) -> Any:
    data = {
        "role": factories.make_role(role).pk,
        "kind": kind,
        "name": name,
        "reason": "joins the team",
        **more,
    }
    return signed_in(by).post(reverse("access:give", args=[to.pk]), data)


def fresh(user: User) -> User:
    return User.objects.get(pk=user.pk)


class TestWhoSees:
    def test_the_permission_is_needed(self, ada: User) -> None:
        factories.grant(ada, "operator")
        assert signed_in(ada).get("/access/").status_code == 403
        assert Client().get("/access/").status_code == 302

    def test_people_with_their_grants(self, chief: User, ada: User, account: Account) -> None:
        factories.grant(ada, "operator", "account", account)
        text = signed_in(chief).get("/access/", {"q": "ada"}).content.decode()
        assert "operator" in text
        assert "account eu" in text
        assert "system:" not in signed_in(chief).get("/access/").content.decode()

    def test_only_grants_where_one_manages_access(self, lead: User, ada: User, account: Account) -> None:
        factories.grant(ada, "restarter", "account", account)
        factories.grant(ada, "viewer", "account", factories.make_account("elsewhere"))
        for url in ("/access/", reverse("access:person", args=[ada.pk])):
            text = signed_in(lead).get(url).content.decode()
            assert "account eu" in text
            assert "elsewhere" not in text

    def test_filters(self, chief: User, ada: User, account: Account) -> None:
        factories.grant(ada, "operator", "account", account)
        client = signed_in(chief)
        for query in ({"role": factories.make_role("operator").pk}, {"on": "account"}, {"q": "ADA"}):
            rows = client.get("/access/", query).context["table"].page.object_list
            assert [row.record.username for row in rows] == ["ada"], query

    def test_csv(self, chief: User, ada: User, account: Account) -> None:
        factories.grant(ada, "operator", "account", account)
        response = signed_in(chief).get("/access/", {"_export": "csv", "q": "ada"})
        text = b"".join(response.streaming_content).decode()
        assert "operator on account eu" in text

    def test_queries_do_not_grow(self, chief: User, account: Account) -> None:
        client = signed_in(chief)

        def cost() -> int:
            with CaptureQueriesContext(connection) as queries:
                client.get("/access/")
            return len(queries)

        factories.grant(factories.make_user(), "viewer", "account", account)
        cost()
        few = cost()
        for _ in range(12):
            factories.grant(factories.make_user(), "operator", "account", factories.make_account())
        assert cost() == few


class TestGiving:
    def test_it_takes_effect_at_once_and_is_recorded(self, chief: User, ada: User, account: Account) -> None:
        assert give(chief, ada, "operator", "account", "eu").status_code == 302
        assert scopes_of(fresh(ada), "deploy").accounts == {account.pk}
        given = Grant.objects.get(user=ada)
        assert (given.given_by, given.reason, given.until) == (chief, "joins the team", None)
        entry = AuditEntry.objects.filter(object_id=given.pk, content_type__model="grant").latest("pk")
        assert (entry.actor, entry.reason, entry.via) == (chief, "joins the team", "page")

    def test_it_ends_by_itself(self, chief: User, ada: User, time_machine: Any = None) -> None:
        soon = timezone.now() + timedelta(hours=2)
        assert give(chief, ada, "viewer", until=f"{soon:%Y-%m-%dT%H:%M}").status_code == 302
        assert holds(fresh(ada), "view")
        import time_machine as machine

        with machine.travel(soon + timedelta(minutes=1)):
            assert not holds(fresh(ada), "view")

    @pytest.mark.parametrize(
        "bad",
        [
            {"reason": " "},
            {"reason": "x"},
            {"until": "2020-01-01T00:00"},
            {"until": "soon"},
            {"kind": "account", "name": ""},
            {"kind": "account", "name": "nowhere"},
            {"kind": "tenant", "name": "nobody"},
            {"kind": "planet", "name": "mars"},
            {"role": "0"},
        ],
        ids=str,
    )
    def test_bad_input_changes_nothing_and_says_what(
        self, chief: User, ada: User, bad: dict[str, str]
    ) -> None:
        data = {
            "role": factories.make_role("viewer").pk,
            "kind": "everything",
            "reason": "joins the team",
            **bad,
        }
        response = signed_in(chief).post(reverse("access:give", args=[ada.pk]), data)
        assert response.status_code == 422
        assert response.context["form"].errors
        assert not Grant.objects.filter(user=ada).exists()

    def test_the_same_again_only_moves_its_end(self, chief: User, ada: User) -> None:
        give(chief, ada, "viewer")
        soon = timezone.now() + timedelta(hours=2)
        give(chief, ada, "viewer", until=f"{soon:%Y-%m-%dT%H:%M}")
        assert Grant.objects.get(user=ada).until is not None

    def test_a_tenant_is_named_by_its_key(self, chief: User, ada: User) -> None:
        tenant = factories.make_tenant("acme", name="Acme")
        give(chief, ada, "viewer", "tenant", "acme")
        assert scopes_of(fresh(ada), "view").tenants == {tenant.pk}


class TestLimits:
    def test_on_ones_own_part_what_one_holds_there(self, lead: User, ada: User, account: Account) -> None:
        assert give(lead, ada, "restarter", "account", "eu").status_code == 302
        assert scopes_of(fresh(ada), "restart").accounts == {account.pk}

    def test_a_part_carries_what_is_in_it(self, lead: User, ada: User, account: Account) -> None:
        cell = factories.make_cell("eu-a", account=account)
        assert give(lead, ada, "restarter", "cell", "eu-a").status_code == 302
        assert scopes_of(fresh(ada), "restart").cells == {cell.pk}

    def test_not_on_everything(self, lead: User, ada: User) -> None:
        assert give(lead, ada, "restarter").status_code == 422
        assert not Grant.objects.filter(user=ada).exists()

    def test_not_on_a_colleagues_part(self, lead: User, ada: User) -> None:
        factories.make_account("us")
        response = give(lead, ada, "restarter", "account", "us")
        assert "There is no account" in response.content.decode()
        assert not Grant.objects.filter(user=ada).exists()

    def test_not_on_a_tenant_that_is_only_served_there(self, lead: User, ada: User, account: Account) -> None:
        tenant = factories.make_tenant("acme")
        factories.place(tenant, factories.make_instance(cell=factories.make_cell(account=account)))
        assert give(lead, ada, "restarter", "tenant", "acme").status_code == 422

    def test_no_role_above_ones_own(self, lead: User, ada: User) -> None:
        assert give(lead, ada, "operator", "account", "eu").status_code == 403
        assert not Grant.objects.filter(user=ada).exists()

    def test_not_to_oneself(self, chief: User) -> None:
        assert give(chief, chief, "viewer").status_code == 422

    def test_system_actors_are_no_people(self, chief: User) -> None:
        actor = User.objects.get(username="system:command")
        assert give(chief, actor, "viewer").status_code == 404

    def test_taking_is_limited_likewise(self, lead: User, ada: User) -> None:
        elsewhere = factories.grant(ada, "viewer", "account", factories.make_account("us"))
        response = signed_in(lead).post(reverse("access:take", args=[elsewhere.pk]), {"reason": "enough"})
        assert response.status_code == 404
        assert Grant.objects.filter(pk=elsewhere.pk).exists()


class TestTaking:
    def test_it_takes_effect_at_once(self, chief: User, ada: User) -> None:
        given = factories.grant(ada, "viewer")
        response = signed_in(chief).post(reverse("access:take", args=[given.pk]), {"reason": "left the team"})
        assert response.status_code == 302
        assert not holds(fresh(ada), "view")
        assert AuditEntry.objects.filter(reason="left the team", action=2, actor=chief).exists()

    def test_it_needs_a_reason(self, chief: User, ada: User) -> None:
        given = factories.grant(ada, "viewer")
        signed_in(chief).post(reverse("access:take", args=[given.pk]), {"reason": " "})
        assert holds(fresh(ada), "view")

    def test_it_rejects_get(self, chief: User, ada: User) -> None:
        given = factories.grant(ada, "viewer")
        assert signed_in(chief).get(reverse("access:take", args=[given.pk])).status_code == 405
