"""Leaving: the very next request is refused, and nothing that was held or asked for stands, whoever says so."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.access import asking, breaking, granting, leaving, pre_approvals, tokens
from apps.access.models import AccessRequest, ApiToken, BreakGlass, PreApproval, User
from apps.access.scoping import holds
from apps.operations import runner, services
from apps.operations.models import Operation
from tests import factories
from tests.access.scim import Directory, mapped

pytestmark = pytest.mark.django_db
BACKEND = "django.contrib.auth.backends.ModelBackend"


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "nudge", lambda count=1: None)


@pytest.fixture
def directory() -> Directory:
    return Directory()


@pytest.fixture
def ada(directory: Directory) -> User:
    """Somebody with one of each."""
    person = directory.person()
    person.set_password("canary-old-password-1")
    with factories.as_system():
        person.save()
    factories.grant(person, "on-call")
    factories.grant(person, "operator")
    with factories.as_system():
        person.groups.add(Group.objects.create(name="local"))
    mapped("support")
    directory.group("support", person)
    person = User.objects.get(pk=person.pk)
    asking.ask(
        person=person,
        role=factories.make_role("finance"),
        kind="everything",
        name="",
        minutes=60,
        reason="x y z",
    )
    breaking.break_glass(
        person=person,
        role=factories.make_role("viewer"),
        kind="everything",
        name="",
        minutes=30,
        reason="fire",
    )
    return person


def goes(directory: Directory, ada: User) -> None:
    assert (
        directory.patch(f"Users/{ada.pk}", {"op": "Replace", "path": "active", "value": "False"}).status_code
        == 200
    )


def test_the_very_next_request_is_refused(directory: Directory, ada: User) -> None:
    client, other = Client(), Client()
    for one in (client, other):
        one.force_login(ada, backend=BACKEND)
        assert one.get(reverse("fleet:instances")).status_code == 200
    _, secret = tokens.issue(owner=ada, name="ci", permissions=["view"], days=1)
    headers = {"Authorization": f"Bearer {secret}"}
    assert client.get("/api/v1/instances", headers=headers).status_code == 200
    goes(directory, ada)
    assert client.get(reverse("fleet:instances")).status_code == 302
    assert other.get(reverse("core:bar"), headers={"HX-Request": "true"}).status_code == 401
    assert Client().get("/api/v1/instances", headers=headers).status_code == 401
    assert not UserSession.objects.filter(user=ada).exists()
    Client().post(reverse("account_login"), {"login": "ada", "password": "canary-old-password-1"})
    assert not UserSession.objects.filter(user=ada).exists()
    assert not User.objects.get(pk=ada.pk).has_usable_password()


def test_nothing_stands(directory: Directory, ada: User) -> None:
    tokens.issue(owner=ada, name="ci", permissions=["view"], days=1)
    goes(directory, ada)
    assert not ada.grants.exists()
    assert not ada.groups.exists()
    assert not holds(User.objects.get(pk=ada.pk), "view")
    assert AccessRequest.objects.get(person=ada).state == "withdrawn"
    assert not ApiToken.objects.filter(owner=ada, revoked_at__isnull=True).exists()
    assert BreakGlass.objects.get(person=ada).ended_at is not None


def test_back_again_they_hold_what_the_directory_says_and_no_more(directory: Directory, ada: User) -> None:
    client = Client()
    client.force_login(ada, backend=BACKEND)
    client.get(reverse("access:mine"))
    goes(directory, ada)
    directory.patch(f"Users/{ada.pk}", {"op": "replace", "value": {"active": True}})
    back = User.objects.get(pk=ada.pk)
    assert [str(group) for group in back.groups.all()] == ["our support"]
    assert not back.grants.exists()
    assert not holds(back, "restart")
    assert client.get(reverse("access:mine")).status_code == 302, "a session from before"
    assert not back.has_usable_password()


def test_standing_yeses_they_gave_end(directory: Directory) -> None:
    boss = factories.make_user("boss")
    factories.grant(boss, "admin")
    with factories.as_system():
        group = Group.objects.create(name="on call")
    pre_approvals.make(
        actor=boss, group=group, role=factories.make_role("viewer"), kind="everything", name="", max_minutes=60, reason="on call"
    )  # fmt: skip
    assert directory("DELETE", f"Users/{boss.pk}").status_code == 204
    assert not PreApproval.objects.exists()


def test_what_they_asked_the_fleet_for_is_refused_at_its_start(directory: Directory, ada: User) -> None:
    instance = factories.make_instance("here")
    operation = services.submit(
        kind="restart", target_id=instance.pk, actor=ada, reason="before leaving", idempotency_key="k"
    )
    goes(directory, ada)
    runner.run_due()
    operation.refresh_from_db()
    assert operation.state == "failed"
    assert "may no longer do this" in operation.error


def test_rescoped_they_reach_what_is_theirs_now_from_the_very_next_request_on() -> None:
    """A grant moved to another cell: the page is gone, and what waits there is refused at its start."""
    olga, here, there = factories.make_user("olga"), factories.make_cell("here"), factories.make_cell("there")
    one, other = factories.make_instance("one", cell=here), factories.make_instance("other", cell=there)
    given = factories.grant(olga, "operator", "cell", here)
    client = Client()
    client.force_login(olga, backend=BACKEND)
    page = reverse("fleet:instance", args=[one.pk])
    assert client.get(page).status_code == 200
    waits = services.submit(
        kind="restart", target_id=one.pk, actor=olga, reason="before it moved", idempotency_key="k"
    )
    root = factories.make_user("root", superuser=True)
    granting.take(actor=root, grant=given, reason="moved on")
    granting.give(actor=root, person=olga, role=given.role, kind="cell", name="there", reason="moved on")
    assert client.get(page).status_code == 404
    assert client.get(page, headers={"HX-Request": "true", "X-Daytwo-Live": "1"}).status_code == 404
    assert client.get(reverse("fleet:instance", args=[other.pk])).status_code == 200
    runner.run_due()
    waits.refresh_from_db()
    assert waits.state == "failed"
    assert "may no longer do this" in waits.error


def test_it_is_all_or_nothing(directory: Directory, ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("the plug is pulled")

    monkeypatch.setattr(leaving, "record", broken)
    with pytest.raises(RuntimeError):
        goes(directory, ada)
    assert User.objects.get(pk=ada.pk).is_active
    assert ada.grants.count() == 3
    assert AccessRequest.objects.get(person=ada).state == "waiting"


def test_the_admin_does_the_same(ada: User) -> None:
    root = factories.make_user("root", superuser=True)
    client = Client()
    client.force_login(root, backend=BACKEND)
    address = reverse("admin:access_user_change", args=[ada.pk])
    data = {
        "username": ada.username, "first_name": "", "last_name": "", "email": ada.email, "zone": "", "external_id": "",
        "groups": [group.pk for group in ada.groups.all()], "fix_reason": "left the company",
    }  # fmt: skip
    answer = client.post(address, data)
    assert answer.status_code == 302, answer.content.decode()[:2000]
    ada.refresh_from_db()
    assert not ada.is_active
    assert not ada.grants.exists()
    assert not ada.groups.exists()


def test_a_token_long_gone_stays_as_it_was(directory: Directory, ada: User) -> None:
    token, _ = tokens.issue(owner=ada, name="ci", permissions=["view"], days=1)
    tokens.revoke(token, actor=ada)
    at = ApiToken.objects.get(pk=token.pk).revoked_at
    goes(directory, ada)
    assert ApiToken.objects.get(pk=token.pk).revoked_at == at
    assert at < timezone.now() + timedelta(seconds=1)
    assert Operation.objects.count() == 0
