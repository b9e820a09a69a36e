"""Why, and who: the chains agree with the doors, over a whole world."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from apps.access import explaining, scoping, services
from apps.access.choices import Permission
from apps.access.models import Grant, User
from tests import factories

pytestmark = pytest.mark.django_db


class World:
    """Two accounts, three cells; a dedicated and a shared instance, two tenants; people with all sorts of grants."""

    def __init__(self) -> None:
        self.eu, self.us = factories.make_account("eu"), factories.make_account("us")
        self.a = factories.make_cell("eu-a", account=self.eu)
        self.b = factories.make_cell("eu-b", account=self.eu)
        self.c = factories.make_cell("us-a", account=self.us)
        self.own = factories.make_instance("own", cell=self.a)
        self.shared = factories.make_instance("shared", cell=self.b, kind="shared")
        self.acme, self.bluth = factories.make_tenant("acme"), factories.make_tenant("bluth")
        factories.place(self.acme, self.own)
        factories.place(self.acme, self.shared)
        factories.place(self.bluth, self.shared)
        scopes: list[tuple[str, Any]] = [
            ("everything", None), ("account", self.eu), ("account", self.us), ("cell", self.a), ("cell", self.b),
            ("tenant", self.acme), ("tenant", self.bluth),
        ]  # fmt: skip
        self.people = []
        for number, (kind, obj) in enumerate(scopes):
            for role in ("viewer", "support", "operator", "admin"):
                user = factories.make_user(f"p{number}-{role}")
                factories.grant(user, role, kind, obj)
                self.people.append(user)
        self.root = factories.make_user("root", superuser=True)
        ended = factories.make_user("ended")
        Grant.objects.filter(pk=factories.grant(ended, "admin").pk)
        with factories.as_system():
            grant = Grant.objects.get(user=ended)
            grant.until = timezone.now() - timedelta(seconds=1)
            grant.save()
        services.sync_permissions(ended, grant.scope)
        member = factories.make_user("member")
        with factories.as_system():
            self.group = Group.objects.create(name="team")
            member.groups.add(self.group)
        services.give_grant(
            to=self.group, role=factories.make_role("operator"), scope=services.scope_for("cell", self.a),
            actor=services.system_actor("command"), reason="team",
        )  # fmt: skip
        gone = factories.make_user("gone", is_active=False)
        factories.grant(gone, "admin")
        self.people += [self.root, ended, member, gone]
        self.things = [
            self.eu, self.us, self.a, self.b, self.c, self.own, self.shared, self.acme, self.bluth
        ]  # fmt: skip


def test_the_chains_say_what_the_doors_do() -> None:
    """For every person, permission and thing: who has a chain gets through, who has none does not."""
    world = World()
    for thing in world.things:
        for permission in Permission:
            through = {
                u.pk for u in world.people if scoping.allowed(User.objects.get(pk=u.pk), permission, thing)
            }
            told = {answer.user.pk for answer in explaining.who(permission, thing)}
            assert told == through, f"{permission} on {thing!r}"


def test_why_agrees_with_who() -> None:
    world = World()
    for thing in (world.shared, world.acme, world.eu):
        for permission in (Permission.VIEW, Permission.READ_LOGS, Permission.RESTART):
            told = {answer.user.pk for answer in explaining.who(permission, thing)}
            assert told == {u.pk for u in world.people if explaining.why(u, permission, thing).is_allowed}


def test_the_chain_leads_from_the_grant_to_the_thing() -> None:
    world = World()
    member = User.objects.get(username="member")
    (chain,) = explaining.why(member, "restart", world.own).chains
    assert (chain.group, chain.cover.kind, chain.cover.label) == (world.group, "cell", "eu-a")
    assert chain.grant is not None and chain.grant.reason == "team"


def test_what_lacks_is_said() -> None:
    world = World()

    def near(username: str, permission: str, thing: Any) -> str:
        return explaining.why(User.objects.get(username=username), permission, thing).near[0].stops

    assert "does not allow" in near("p0-viewer", "restart", world.own)
    assert "does not carry" in near("p5-operator", "restart", world.shared)
    assert "ended at" in near("ended", "view", world.own)
    assert "inactive" in near("gone", "view", world.own)


def test_queries_do_not_grow_with_people() -> None:
    account = factories.make_account()

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            explaining.who("view", account)
        return len(queries)

    factories.grant(factories.make_user(), "viewer", "account", account)
    few = cost()
    for _ in range(8):
        factories.grant(factories.make_user(), "viewer", "account", account)
    assert cost() == few


class TestPage:
    def ask(self, by: User, **query: str) -> Any:
        client = Client()
        client.force_login(by, backend="django.contrib.auth.backends.ModelBackend")
        return client.get(reverse("access:why"), {"permission": "restart", **query})

    def test_who_and_why(self) -> None:
        world = World()
        chief = User.objects.get(username="p0-admin")
        text = self.ask(chief, kind="instance", name="own").content.decode()
        assert "can: Start, stop, restart on own" in text
        assert ">member</a>" in text
        assert "runs in it" in text
        text = self.ask(chief, kind="instance", name="own", who="p0-viewer").content.decode()
        assert "cannot" in text
        assert "does not allow" in text
        assert self.ask(chief, kind="tenant", name="nobody").status_code == 422
        assert world

    def test_only_where_one_manages_access(self) -> None:
        World()
        of_eu = User.objects.get(username="p1-admin")
        assert self.ask(of_eu, kind="cell", name="eu-a").status_code == 200
        assert self.ask(of_eu, kind="cell", name="us-a").status_code == 422
        assert self.ask(of_eu, kind="everything", name="").status_code == 422


def test_a_cells_scope_does_not_reach_its_account() -> None:
    """To look at the account, yes; to manage or change it, or its other cells would be within reach."""
    account = factories.make_account("eu")
    keeper = factories.make_user("keeper")
    factories.grant(keeper, "admin", "cell", factories.make_cell("eu-a", account=account))
    assert scoping.allowed(keeper, "view", account)
    for permission in ("manage_access", "restart", "fix_data"):
        assert not scoping.allowed(keeper, permission, account)
