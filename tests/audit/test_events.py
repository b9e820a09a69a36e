"""What the trail holds beyond changes of rows: sign-ins, refusals, exports, reads; and under which grant."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import Client
from django.urls import reverse

from apps.access.models import Grant
from apps.audit import telling
from apps.audit.choices import EventKind
from apps.audit.models import AuditEntry
from apps.audit.under import carried_by
from tests import factories

pytestmark = pytest.mark.django_db

PASSWORD = "a-long-canary-password-3141"
BACKEND = "django.contrib.auth.backends.ModelBackend"


def told(event: str) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(event=event).order_by("pk"))


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user, backend=BACKEND)
    return client


def sign_in(login: str, password: str = PASSWORD) -> Any:
    return Client().post("/accounts/login/", {"login": login, "password": password}, REMOTE_ADDR="10.1.2.3")


class TestSignIns:
    def test_coming_in(self) -> None:
        ada = factories.make_user("ada", password=PASSWORD)
        assert sign_in("ada").status_code == 302
        (entry,) = told(EventKind.SIGN_IN)
        assert (entry.actor, entry.object_id, entry.remote_addr, entry.via) == (
            ada,
            ada.pk,
            "10.1.2.3",
            "page",
        )
        assert entry.additional_data == {"methods": ["password"]}
        assert entry.cid

    def test_not_coming_in(self) -> None:
        ada = factories.make_user("ada", password=PASSWORD)
        sign_in("ada", "wrong")
        sign_in("ada@example.com", "wrong")
        entries = told(EventKind.SIGN_IN_FAILED)
        assert [(e.actor.username, e.object_id, e.remote_addr) for e in entries] == [
            ("system:visitor", ada.pk, "10.1.2.3")
        ] * 2
        assert told(EventKind.SIGN_IN) == []

    def test_a_password_typed_as_a_name_is_not_kept(self) -> None:
        factories.make_user("ada", password=PASSWORD)
        sign_in(PASSWORD, "ada")
        (entry,) = told(EventKind.SIGN_IN_FAILED)
        assert entry.object_repr == "sign-in failed under a name that nobody has"
        assert PASSWORD not in str(vars(entry))

    def test_going(self) -> None:
        ada = factories.make_user("ada")
        signed_in(ada).post("/accounts/logout/")
        (entry,) = told(EventKind.SIGN_OUT)
        assert (entry.actor, entry.object_id) == (ada, ada.pk)

    def test_a_changed_password(self) -> None:
        ada = factories.make_user("ada", password=PASSWORD)
        new = "another-canary-2718"
        client = signed_in(ada)
        form = {"oldpassword": PASSWORD, "password1": new, "password2": new}
        assert client.post("/accounts/password/change/", form).status_code == 302
        assert [e.object_repr for e in told(EventKind.ACCESS)] == ["the password of ada was changed"]

    def test_failures_are_bounded_for_each_address(self) -> None:
        for _ in range(telling.REFUSALS.most + 5):
            telling.REFUSALS.take("sign-in 10.1.2.3")
        sign_in("nobody", "x")
        assert told(EventKind.SIGN_IN_FAILED) == []


class TestDenials:
    def test_a_permission_that_lacks(self) -> None:
        eve = factories.make_user("eve")
        factories.grant(eve, "viewer")
        assert signed_in(eve).get("/audit/").status_code == 403
        (entry,) = told(EventKind.DENIED)
        assert (entry.actor, entry.object_repr, entry.under) == (eve, "GET /audit/", "")
        assert entry.additional_data == {"status": 403, "method": "GET"}

    def test_a_change_out_of_scope(self) -> None:
        eve = factories.make_user("eve")
        factories.grant(eve, "operator", "account", factories.make_account())
        instance = factories.make_instance()
        url = reverse("operations:act", kwargs={"kind": "restart", "target_id": instance.pk})
        assert signed_in(eve).post(url, {"reason": "because"}).status_code in (404, 422)
        signed_in(eve).post(reverse("core:delete_view", args=[1]))
        assert "POST /views/1/delete/" in [e.object_repr for e in told(EventKind.DENIED)]

    def test_a_slip_is_no_denial(self) -> None:
        eve = factories.make_user("eve")
        factories.grant(eve, "viewer")
        client = signed_in(eve)
        client.get("/instances/999999/")
        client.post("/nowhere/")
        Client().post("/nowhere/")
        assert told(EventKind.DENIED) == []

    def test_what_is_others_is_told_by_its_pattern(self, rf: Any) -> None:
        """Their paths may hold a key."""
        from django.urls import resolve

        from apps.audit.middleware import tell_denial

        path = "/accounts/password/reset/key/1-canary/"
        request = rf.post(path)
        request.user, request.resolver_match = AnonymousUser(), resolve(path)
        tell_denial(request, 403)
        assert "canary" not in told(EventKind.DENIED)[0].object_repr

    def test_they_are_bounded_and_what_was_left_out_is_told(self, monkeypatch: Any) -> None:
        monkeypatch.setattr(telling.REFUSALS, "most", 3)
        eve = factories.make_user("eve")
        client = signed_in(eve)
        for _ in range(10):
            assert client.get("/audit/").status_code == 403
        assert len(told(EventKind.DENIED)) == 3
        telling.REFUSALS._buckets[f"denied {eve.pk}"].since -= 61
        client.get("/audit/")
        assert told(EventKind.DENIED)[-1].additional_data["left_out_before"] == 7

    def test_the_bound_forgets_rather_than_grows(self) -> None:
        bound = telling.Bound(most=1, seconds=60)
        bound.LARGEST = 10  # type: ignore[misc]
        for number in range(100):
            bound.take(str(number))
        assert len(bound._buckets) <= 10


class TestReadsAndExports:
    def test_reading_a_log(self) -> None:
        ada = factories.make_user("ada")
        account = factories.make_account("here")
        instance = factories.make_instance(cell=factories.make_cell(account=account))
        factories.grant(ada, "operator", "account", account)
        assert signed_in(ada).get(reverse("fleet:instance_log_page", args=[instance.pk])).status_code == 200
        (entry,) = told(EventKind.READ)
        assert (entry.object_id, entry.under) == (instance.pk, "operator on account here")
        assert entry.grant_id == Grant.objects.get(user=ada).pk

    def test_seeing_personal_data_once_an_hour(self) -> None:
        ada, tenant = factories.make_user("ada"), factories.make_tenant("acme", name="Acme")
        factories.grant(ada, "support")
        client, url = signed_in(ada), reverse("tenants:tenant", args=[tenant.pk])
        client.get(url)
        assert not told(EventKind.READ), "it has no contact"
        with factories.as_system():
            tenant.contacts.create(name="Grace Hopper", email="grace@acme.example")
        for _ in range(2):
            assert client.get(url).status_code == 200
        client.get(url, headers={"HX-Request": "true", "X-Daytwo-Live": "1"})
        (entry,) = told(EventKind.READ)
        assert (entry.actor, entry.object_id, entry.under) == (ada, tenant.pk, "support on everything")
        assert "grace" not in f"{entry.object_repr} {entry.additional_data}".lower()

    def test_exporting_a_list(self) -> None:
        ada = factories.make_user("ada")
        factories.grant(ada, "operator")
        b"".join(signed_in(ada).get(reverse("fleet:instances"), {"_export": "csv"}).streaming_content)
        (entry,) = told(EventKind.EXPORT)
        assert entry.under == "operator on everything"

    def test_grants_and_operations_have_kinds_of_their_own(self) -> None:
        from apps.operations.services import submit

        root, instance = factories.make_user("root", superuser=True), factories.make_instance()
        factories.grant(factories.make_user(), "viewer")
        submit(kind="restart", target_id=instance.pk, actor=root, reason="because")
        assert {e.content_type.model for e in told(EventKind.ACCESS)} == {"role", "scope", "grant"}
        assert {e.content_type.model for e in told(EventKind.OPERATION)} == {"operation"}


class TestUnderWhichGrant:
    def test_a_change_made_on_a_page(self) -> None:
        ada = factories.make_user("ada")
        factories.grant(ada, "viewer")
        signed_in(ada).post(reverse("core:save_view"), {"page": "fleet:instances", "name": "mine"})
        entry = AuditEntry.objects.latest("pk")
        assert (entry.content_type.model, entry.under) == ("savedview", "viewer on everything")

    def test_the_widest_one_is_told(self) -> None:
        ada = factories.make_user("ada")
        factories.grant(ada, "operator", "account", factories.make_account("here"))
        assert carried_by(ada, "restart")[1] == "operator on account here"
        factories.grant(ada, "operator")
        assert carried_by(ada, "restart")[1] == "operator on everything"
        assert carried_by(ada, "manage_access") == (None, "")

    def test_a_superuser_acts_under_none(self) -> None:
        assert carried_by(factories.make_user(superuser=True), "restart") == (None, "superuser")

    def test_a_page_that_writes_nothing_does_not_ask(self, monkeypatch: Any) -> None:
        from apps.audit import under

        def never(*args: Any) -> Any:
            raise AssertionError("asked")

        monkeypatch.setattr(under, "carried_by", never)
        ada = factories.make_user("ada")
        factories.grant(ada, "viewer")
        assert signed_in(ada).get(reverse("fleet:instances")).status_code == 200

    def test_what_another_does_within_the_request_is_not_under_it(self) -> None:
        from apps.core.context import Acting, acting, begin, end

        ada, other = factories.make_user(), factories.make_user()
        token = begin(Acting(actor=ada, carrier=lambda: (7, "x on y")))
        try:
            with acting(other) as act:
                assert act.carrier is None
            with acting(ada) as act:
                assert act.carrier is not None
        finally:
            end(token)


def test_a_failed_entry_never_lets_the_secret_into_the_log(caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    factories.make_user("ada", password=PASSWORD)
    sign_in("ada", PASSWORD + "x")
    assert PASSWORD not in caplog.text
