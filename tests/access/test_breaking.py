"""Breaking glass: at once, an hour at most, by a second factor again; marked, explained, reviewed by another."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.core import mail
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.access import breaking, granting, keeping
from apps.access.models import BreakGlass, User
from apps.access.scoping import holds, scopes_of
from apps.audit.models import AuditEntry
from apps.core.models import Event
from tests import factories

pytestmark = pytest.mark.django_db
WHY = "checkout is down for everybody"


def signed_in(user: User, *, factor: bool = False, ago: float = 0) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    if factor:
        session = client.session
        session["account_authentication_methods"] = [
            {"method": "mfa", "at": time.time() - ago, "type": "totp"}
        ]
        session["account_authentication_methods_user"] = str(user.pk)
        session.save()
    return client


@pytest.fixture
def account(settings: Any) -> Any:
    settings.SECURITY_EMAIL = "security@example.com"
    return factories.make_account("eu")


@pytest.fixture
def olga(account: Any) -> User:
    user = factories.make_user("olga")
    factories.grant(user, "on-call")
    with factories.as_system():
        TOTP.activate(user, generate_totp_secret())
    return user


@pytest.fixture
def lead(account: Any) -> User:
    user = factories.make_user("lead")
    factories.grant(user, "admin", "account", account)
    return user


def take(person: User, **more: Any) -> BreakGlass:
    data = {
        "role": factories.make_role("operator"),
        "kind": "account",
        "name": "eu",
        "minutes": 60,
        "reason": WHY,
    }
    return breaking.break_glass(person=person, **{**data, **more})


def fresh(user: User) -> User:
    return User.objects.get(pk=user.pk)


class TestTaking:
    def test_at_once_and_an_hour_at_most(self, olga: User, account: Any) -> None:
        glass = take(olga)
        assert scopes_of(fresh(olga), "restart").accounts == {account.pk}
        with time_machine.travel(glass.until, tick=False):
            assert not holds(fresh(olga), "restart")
        with pytest.raises(granting.NotGiven, match="60 minutes"):
            take(factories.make_user("x", superuser=True), minutes=61)

    def test_the_security_address_and_the_managers_are_alerted(
        self, olga: User, lead: User, account: Any
    ) -> None:
        take(olga)
        keeping.keep()
        assert {m.to[0] for m in mail.outbox} == {"security@example.com", lead.email}
        assert all(m.subject.startswith("ALERT: ") and WHY in m.body for m in mail.outbox)
        event = Event.objects.get(kind="access.broken_glass")
        assert (event.tone, event.account_id, event.actor) == ("bad", account.pk, olga)

    def test_without_the_permission_there_it_is_refused(self, account: Any) -> None:
        vera = factories.make_user("vera")
        factories.grant(vera, "viewer")
        with pytest.raises(PermissionDenied):
            take(vera)

    def test_it_lets_nobody_else_in(self, olga: User) -> None:
        with pytest.raises(granting.NotGiven, match="Give and take access"):
            take(olga, role=factories.make_role("admin"))

    def test_what_is_held_already_needs_no_breaking(self, olga: User, account: Any) -> None:
        factories.grant(olga, "operator", "account", account)
        with pytest.raises(granting.NotGiven):
            take(olga)

    def test_no_second_hour_before_the_first_is_explained(self, olga: User) -> None:
        glass = take(olga)
        with time_machine.travel(glass.until + timedelta(seconds=1), tick=False):
            keeping.keep()
            with pytest.raises(granting.NotGiven, match="explain that first"):
                take(fresh(olga))
            breaking.explain(glass, person=olga, text="restarted the checkout, which hung")
            assert take(fresh(olga)).until > glass.until

    def test_what_is_given_meanwhile_is_no_emergency_and_does_not_end_with_it(
        self, olga: User, lead: User, account: Any
    ) -> None:
        glass = take(olga)
        factories.grant(olga, glass.role.name, "account", account)
        glass.refresh_from_db()
        assert glass.ended_at
        assert breaking.under(fresh(olga)) is None
        with pytest.raises(granting.NotGiven, match="ended already"):
            breaking.end(glass, person=olga)
        assert holds(fresh(olga), "restart")


class TestSecondFactor:
    url = "/access/break-glass/"

    def data(self) -> dict[str, Any]:
        return {
            "role": factories.make_role("operator").pk, "kind": "account", "name": "eu", "minutes": 60, "reason": WHY
        }  # fmt: skip

    def test_without_a_device_one_is_led_to_set_one_up(self, account: Any) -> None:
        bob = factories.make_user("bob")
        factories.grant(bob, "on-call")
        assert signed_in(bob).post(self.url, self.data()).url == reverse("mfa_index")
        assert not BreakGlass.objects.exists()

    @pytest.mark.parametrize("client", [{}, {"factor": True, "ago": 301}], ids=["none", "too old"])
    def test_it_has_to_be_given_again(self, olga: User, client: dict[str, Any]) -> None:
        answer = signed_in(olga, **client).post(self.url, self.data())
        assert answer.url.startswith(reverse("mfa_reauthenticate"))
        assert not BreakGlass.objects.exists()

    def test_fresh_it_is_enough(self, olga: User) -> None:
        assert signed_in(olga, factor=True).post(self.url, self.data()).status_code == 302
        assert BreakGlass.objects.get().person == olga


class TestMarks:
    def test_every_entry_made_under_it_carries_the_grant(self, olga: User, account: Any) -> None:
        glass = take(olga)
        cell = factories.make_cell(account=account)
        instance = factories.make_instance(cell=cell)
        client = signed_in(olga)
        client.post(reverse("core:save_view"), {"page": "fleet:instances", "name": "x"})
        entry = AuditEntry.objects.filter(actor=olga).latest("pk")
        assert entry.additional_data == {"under": glass.grant_ref}
        act = reverse("operations:act", args=["restart", instance.pk])
        assert client.post(act, {"reason": WHY, "previewed": ""}).status_code == 302
        entry = AuditEntry.objects.filter(content_type__model="operation").latest("pk")
        assert entry.additional_data == {"under": glass.grant_ref}

    def test_not_before_and_not_after(self, olga: User) -> None:
        client = signed_in(olga)
        client.post(reverse("core:save_view"), {"page": "fleet:instances", "name": "x"})
        glass = take(olga)
        breaking.end(glass, person=olga)
        client.post(reverse("core:save_view"), {"page": "fleet:instances", "name": "y"})
        entries = AuditEntry.objects.filter(actor=olga, content_type__model="savedview")
        assert [entry.additional_data for entry in entries] == [None, None]


class TestAfterwards:
    def test_it_nags_until_explained_and_reviewed(self, olga: User, lead: User) -> None:
        glass = take(olga)
        assert "broken glass to explain" in signed_in(olga).get("/bar/").content.decode()
        assert "broken glass to review" in signed_in(lead).get("/bar/").content.decode()
        breaking.end(glass, person=olga)
        breaking.explain(BreakGlass.objects.get(), person=olga, text="restarted the checkout of eu by hand")
        assert "broken glass" not in signed_in(olga).get("/bar/").content.decode()
        url = reverse("access:review_glass", args=[glass.pk])
        assert signed_in(lead).post(url, {"verdict": "right", "review": "well done"}).status_code == 302
        assert "broken glass" not in signed_in(lead).get("/bar/").content.decode()
        glass.refresh_from_db()
        assert (glass.reviewed_by, glass.verdict) == (lead, "right")

    def test_the_overview_shows_it_until_it_is_reviewed(self, olga: User, lead: User, account: Any) -> None:
        glass = take(olga)
        words = reverse("access:glass", args=[glass.pk])
        factories.make_instance(cell=factories.make_cell(account=account))
        stranger = factories.make_user("stranger")
        factories.grant(stranger, "viewer")

        def overview(user: User) -> str:
            return signed_in(user).get(reverse("fleet:overview")).content.decode()

        assert "waits for your explanation" in overview(olga)
        assert reverse("access:glass", args=[glass.pk]) in overview(lead)
        assert "has not been reviewed" in overview(lead)
        assert words not in overview(stranger)
        breaking.end(glass, person=olga)
        breaking.explain(BreakGlass.objects.get(), person=olga, text="restarted the checkout of eu by hand")
        assert words not in overview(olga)
        assert words in overview(lead)
        breaking.review(BreakGlass.objects.get(), actor=lead, verdict="right", review="well done")
        assert words not in overview(lead)

    def test_nobody_reviews_their_own_nor_before_it_is_explained(self, olga: User, lead: User) -> None:
        glass = take(olga)
        said = {"verdict": "right", "review": "well done"}
        for actor in (olga, lead):
            with pytest.raises(granting.NotGiven):
                breaking.review(glass, actor=actor, **said)
        breaking.end(glass, person=olga)
        glass.refresh_from_db()
        with pytest.raises(granting.NotGiven, match="explain it first"):
            breaking.review(glass, actor=lead, **said)
        with pytest.raises(PermissionDenied):
            breaking.explain(glass, person=lead, text="she restarted it, I think")

    def test_it_ends_by_itself(self, olga: User) -> None:
        glass = take(olga)
        with time_machine.travel(glass.until + timedelta(seconds=1)):
            keeping.keep()
        glass.refresh_from_db()
        assert glass.ended_at == glass.until
        assert timezone.now() < glass.until

    def test_out_of_scope_it_is_not_there(self, olga: User) -> None:
        other = factories.make_user("other")
        factories.grant(other, "admin", "account", factories.make_account("us"))
        glass = take(olga)
        assert signed_in(other).get(reverse("access:glass", args=[glass.pk])).status_code == 404
