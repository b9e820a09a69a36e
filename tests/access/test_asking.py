"""Access for a while: asked for by one, decided by another, ended to the second."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Group
from django.core import mail
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.http import Http404
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.access import asking, granting, keeping, pre_approvals
from apps.access.models import AccessRequest, Grant, Notice, PreApproval, User
from apps.access.scoping import holds, scopes_of
from apps.audit.models import AuditEntry
from apps.core.models import Event
from apps.operations import runner
from apps.operations import services as operations
from apps.operations.choices import State
from apps.tenants.models import Tenant
from tests import factories

pytestmark = pytest.mark.django_db
WHY = "the customer is on the phone"


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def fresh(user: User) -> User:
    return User.objects.get(pk=user.pk)


@pytest.fixture
def tenant() -> Tenant:
    tenant = factories.make_tenant("acme", name="Acme")
    factories.place(tenant, factories.make_instance("acme-prod"))
    return tenant


@pytest.fixture
def vera(tenant: Tenant) -> User:
    """Sees everything, reads no logs."""
    user = factories.make_user("vera")
    factories.grant(user, "viewer")
    return user


@pytest.fixture
def lead(tenant: Tenant) -> User:
    """Manages the access of the one tenant."""
    user = factories.make_user("lead")
    factories.grant(user, "admin", "tenant", tenant)
    return user


def ask(person: User, minutes: int = 120, **more: Any) -> AccessRequest:
    data = {"role": factories.make_role("support"), "kind": "tenant", "name": "acme", "reason": WHY, **more}
    return asking.ask(person=person, minutes=minutes, **data)


def yes(request: AccessRequest, by: User) -> AccessRequest:
    return asking.decide(AccessRequest.objects.get(pk=request.pk), actor=by, yes=True, words="")


class TestAsking:
    def test_nothing_is_held_before_a_yes(self, vera: User, lead: User) -> None:
        ask(vera)
        assert not holds(fresh(vera), "read_logs")

    def test_both_sides_are_told(self, vera: User, lead: User, tenant: Tenant) -> None:
        request = ask(vera)
        keeping.keep()
        assert [m.to for m in mail.outbox] == [[lead.email]]
        assert reverse("access:request", args=[request.pk]) in mail.outbox[0].body
        yes(request, lead)
        keeping.keep()
        assert {tuple(m.to) for m in mail.outbox[1:]} == {(vera.email,), (lead.email,)}
        told = list(
            Event.objects.filter(tenant_id=tenant.pk, kind__startswith="access.")
            .order_by("id")
            .values_list("kind", flat=True)
        )
        assert told == ["access.asked", "access.granted"]

    def test_the_yes_gives_the_role_on_the_tenant_until_the_time(
        self, vera: User, lead: User, tenant: Tenant
    ) -> None:
        before = timezone.now()
        decided = yes(ask(vera), lead)
        assert scopes_of(fresh(vera), "read_logs").tenants == {tenant.pk}
        assert decided.until is not None
        assert abs(decided.until - before - timedelta(hours=2)) < timedelta(seconds=5)
        entry = AuditEntry.objects.filter(content_type__model="grant").latest("pk")
        assert (entry.actor, entry.reason) == (lead, WHY)

    def test_a_no_needs_a_reason_and_gives_nothing(self, vera: User, lead: User) -> None:
        request = ask(vera)
        with pytest.raises(granting.NotGiven):
            asking.decide(request, actor=lead, yes=False, words="")
        asking.decide(request, actor=lead, yes=False, words="use the dashboard")
        assert not holds(fresh(vera), "read_logs")
        keeping.keep()
        assert "use the dashboard" in mail.outbox[-1].body

    def test_nobody_decides_on_their_own(self, lead: User, tenant: Tenant) -> None:
        factories.make_role("extra", ["view"])
        request = ask(lead, role=factories.make_role("extra"))
        with pytest.raises(PermissionDenied):
            asking.decide(request, actor=lead, yes=True, words="")
        with pytest.raises(IntegrityError), transaction.atomic(), factories.as_system():
            AccessRequest.objects.filter(pk=request.pk).update(decided_by=lead)

    def test_who_manages_elsewhere_does_not_even_see_it(self, vera: User, lead: User) -> None:
        other = factories.make_user("other")
        factories.grant(other, "admin", "tenant", factories.make_tenant("else"))
        request = ask(vera)
        assert signed_in(other).get(reverse("access:request", args=[request.pk])).status_code == 404
        with pytest.raises(Http404):
            asking.decide(request, actor=other, yes=True, words="")

    def test_to_approve_operations_is_not_to_let_people_in(
        self, vera: User, lead: User, tenant: Tenant
    ) -> None:
        factories.make_role("approver", ["view", "approve", "read_logs", "export"])
        approver = factories.make_user("approver")
        factories.grant(approver, "approver")
        with pytest.raises(Http404):
            yes(ask(vera), approver)

    def test_no_role_above_the_deciders_own(self, vera: User, tenant: Tenant) -> None:
        factories.make_role("keeper", ["view", "manage_access"])
        keeper = factories.make_user("keeper")
        factories.grant(keeper, "keeper", "tenant", tenant)
        request = ask(vera)
        with pytest.raises(PermissionDenied, match="Read logs"):
            yes(request, keeper)
        request.refresh_from_db()
        assert request.state == "waiting"

    def test_a_second_yes_changes_nothing(self, vera: User, lead: User) -> None:
        request = ask(vera)
        until = yes(request, lead).until
        with pytest.raises(granting.NotGiven):
            yes(request, lead)
        assert Grant.objects.get(user=vera, until__isnull=False).until == until

    @pytest.mark.parametrize(
        "bad", [{"minutes": 0}, {"minutes": 10**6}, {"reason": " "}, {"name": "nobody"}], ids=str
    )
    def test_bad_input(self, vera: User, bad: dict[str, Any]) -> None:
        with pytest.raises(granting.NotGiven):
            ask(vera, **bad)
        assert not AccessRequest.objects.exists()

    def test_not_twice_and_not_what_one_holds(self, vera: User, lead: User) -> None:
        request = ask(vera)
        with pytest.raises(granting.NotGiven, match="asked for this already"):
            ask(vera)
        yes(request, lead)
        with pytest.raises(granting.NotGiven, match="already"):
            ask(vera)

    def test_what_one_does_not_see_cannot_be_named(self, tenant: Tenant) -> None:
        with pytest.raises(granting.NotGiven):
            ask(factories.make_user("stranger"))

    def test_a_grant_for_good_is_never_cut_short(self, vera: User, lead: User, tenant: Tenant) -> None:
        request = ask(vera)
        factories.grant(vera, "support", "tenant", tenant)
        with pytest.raises(granting.NotGiven, match="for good"):
            yes(request, lead)
        assert Grant.objects.get(user=vera, role__name="support").until is None


class TestTheEnd:
    def test_the_very_next_request_is_refused_live_parts_too(
        self, vera: User, lead: User, tenant: Tenant
    ) -> None:
        decided = yes(ask(vera), lead)
        client = signed_in(vera)
        instance = tenant.placements.get().instance
        url = reverse("fleet:instance_logs", args=[instance.pk])
        assert decided.until is not None
        with time_machine.travel(decided.until - timedelta(seconds=1), tick=False):
            assert client.get(url, headers={"HX-Request": "true"}).status_code == 200
        with time_machine.travel(decided.until, tick=False):
            assert client.get(url, headers={"HX-Request": "true", "X-Daytwo-Live": "1"}).status_code == 403
            assert client.get(url).status_code == 403

    @pytest.mark.django_db(transaction=True)
    def test_an_operation_that_waits_is_refused_at_its_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(operations, "nudge", lambda count=1: None)
        olga, cell = factories.make_user("olga"), factories.make_cell()
        instance = factories.make_instance(cell=cell)
        factories.grant(olga, "operator", "cell", cell, until=timezone.now() + timedelta(seconds=1.5))
        operation = operations.submit(kind="restart", target_id=instance.pk, actor=olga, reason="it hangs")
        time.sleep(1.7)
        runner.run_due()
        operation.refresh_from_db()
        assert operation.state == State.FAILED
        assert "permission ended before the start" in operation.error
        assert operation.started_at is None or not operation.steps.filter(state="done").exists()

    def test_it_is_cleaned_up_and_told(self, vera: User, lead: User, tenant: Tenant) -> None:
        request = yes(ask(vera), lead)
        assert request.until is not None
        with time_machine.travel(request.until + timedelta(seconds=2)):
            keeping.keep()
            keeping.keep()
        request.refresh_from_db()
        assert (request.state, request.ended_at) == ("ended", request.until)
        assert not Grant.objects.filter(user=vera, role__name="support").exists()
        assert Event.objects.filter(kind="access.ended", tenant_id=tenant.pk).count() == 1
        assert mail.outbox[-1].subject.startswith("Your access has ended")
        assert (
            AuditEntry.objects.filter(content_type__model="grant", action=2).latest("pk").reason
            == "its time is over"
        )

    def test_given_back_early(self, vera: User, lead: User) -> None:
        request = yes(ask(vera), lead)
        asking.give_back(request, person=vera)
        assert not holds(fresh(vera), "read_logs")
        request.refresh_from_db()
        assert request.state == "returned"
        with pytest.raises(PermissionDenied):
            asking.give_back(request, person=lead)

    def test_taken_back_by_who_manages_access(self, vera: User, lead: User) -> None:
        request = yes(ask(vera), lead)
        granting.take(actor=lead, grant=Grant.objects.get(pk=request.grant_ref), reason="no longer needed")
        request.refresh_from_db()
        assert request.state == "taken"
        assert not holds(fresh(vera), "read_logs")

    def test_withdrawn(self, vera: User, lead: User) -> None:
        request = ask(vera)
        asking.withdraw(request, person=vera)
        with pytest.raises(granting.NotGiven):
            yes(request, lead)


class TestExtending:
    def test_it_is_decided_like_the_first_and_moves_the_end(self, vera: User, lead: User) -> None:
        request = yes(ask(vera), lead)
        more = asking.extend(request, person=vera, minutes=60, reason="takes longer")
        assert Grant.objects.get(pk=request.grant_ref).until == request.until
        yes(more, lead)
        assert request.until is not None
        assert Grant.objects.get(pk=request.grant_ref).until == request.until + timedelta(hours=1)

    def test_only_ones_own_that_stands(self, vera: User, lead: User) -> None:
        request = ask(vera)
        with pytest.raises(granting.NotGiven):
            asking.extend(request, person=vera, minutes=60, reason="takes longer")
        with pytest.raises(PermissionDenied):
            asking.extend(request, person=lead, minutes=60, reason="takes longer")

    def test_giving_back_ends_the_extension_with_it(self, vera: User, lead: User) -> None:
        request = yes(ask(vera), lead)
        more = yes(asking.extend(request, person=vera, minutes=60, reason="takes longer"), lead)
        asking.give_back(more, person=vera)
        assert not holds(fresh(vera), "read_logs")
        assert set(AccessRequest.objects.values_list("state", flat=True)) == {"returned"}


class TestPreApproval:
    @pytest.fixture
    def standing(self, vera: User, lead: User, tenant: Tenant) -> PreApproval:
        with factories.as_system():
            group = Group.objects.create(name="on-call")
            vera.groups.add(group)
        return pre_approvals.make(
            actor=lead, group=group, role=factories.make_role("support"), kind="tenant", name="acme",
            max_minutes=120, reason="they are on call",
        )  # fmt: skip

    def test_it_grants_at_once_up_to_its_length(self, vera: User, standing: PreApproval) -> None:
        request = ask(vera)
        assert request.state == "granted"
        assert request.decided_by is None
        assert holds(fresh(vera), "read_logs")
        assert not Notice.objects.filter(subject__contains="asks for").exists()

    def test_not_for_longer_and_not_for_others(self, vera: User, standing: PreApproval) -> None:
        assert ask(vera, minutes=180).state == "waiting"
        bob = factories.make_user("bob")
        factories.grant(bob, "viewer")
        assert ask(bob).state == "waiting"

    def test_extended_again_and_again_it_has_an_end_all_the_same(
        self, vera: User, standing: PreApproval
    ) -> None:
        request = ask(vera, minutes=60)
        again = asking.extend(request, person=vera, minutes=60, reason="takes longer")
        assert again.state == "granted"
        assert asking.extend(request, person=vera, minutes=60, reason="takes longer").state == "waiting"

    def test_not_for_ones_own_group(self, lead: User, standing: PreApproval) -> None:
        with factories.as_system():
            lead.groups.add(standing.group)
        with pytest.raises(granting.NotGiven, match="in this group"):
            pre_approvals.make(
                actor=lead, group=standing.group, role=factories.make_role("viewer"), kind="tenant", name="acme",
                max_minutes=60, reason="for me",
            )  # fmt: skip


class TestPages:
    def test_the_walk(self, vera: User, lead: User) -> None:
        agent, chief = signed_in(vera), signed_in(lead)
        data = {
            "role": factories.make_role("support").pk,
            "kind": "tenant",
            "name": "acme",
            "minutes": 120,
            "reason": WHY,
        }
        page = agent.post(reverse("access:ask"), data)
        assert page.status_code == 302
        assert "access request" in chief.get(reverse("core:bar")).content.decode()
        assert "vera" in chief.get(reverse("access:requests")).content.decode()
        pk = AccessRequest.objects.get().pk
        assert "Grant for 2 h" in chief.get(page.url).content.decode()
        assert "Grant for" not in agent.get(page.url).content.decode()
        assert agent.post(reverse("access:decide", args=[pk]), {"answer": "yes"}).status_code == 403
        assert chief.post(reverse("access:decide", args=[pk]), {"answer": "yes"}).status_code == 302
        assert "It stands until" in agent.get(page.url).content.decode()
        assert "support" in agent.get(reverse("access:mine")).content.decode()
        assert agent.post(reverse("access:give_back", args=[pk])).status_code == 302
        assert "given back" in agent.get(page.url).content.decode()

    def test_a_letter_that_cannot_be_sent_is_tried_again(
        self, vera: User, lead: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from django.core.mail import EmailMessage

        def away(self: Any) -> None:
            raise ConnectionRefusedError("no mail server")

        ask(vera)
        with monkeypatch.context() as patched:
            patched.setattr(EmailMessage, "send", away)
            keeping.keep()
        notice = Notice.objects.get()
        assert (notice.tries, notice.sent_at) == (1, None)
        assert "no mail server" in notice.error
        with time_machine.travel(timezone.now() + timedelta(minutes=5)):
            keeping.keep()
        assert len(mail.outbox) == 1
