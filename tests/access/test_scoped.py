"""Statements that are compiled for a set of scopes give each reader what `visible` gives them."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.models import QuerySet
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.access.choices import Permission, ScopeKind
from apps.access.models import ScopeUserPermission, User
from apps.access.scoped import Reader, reader_of, scoped
from apps.access.scoping import PERMISSIONS, scopes_of, visible
from apps.access.sessions import SessionStore
from apps.fleet.models import Instance
from tests.factories import (
    as_system,
    grant,
    make_cell,
    make_instance,
    make_role,
    make_tenant,
    make_user,
    place,
)

pytestmark = pytest.mark.django_db


@scoped
def _seen(reader: Reader, permission: str) -> QuerySet[Instance, int]:
    return visible(reader, Instance, permission).order_by("pk").values_list("pk", flat=True)


def _plainly(user: Any, permission: str) -> list[int]:
    return list(visible(user, Instance, permission).order_by("pk").values_list("pk", flat=True))


@pytest.fixture
def readers() -> dict[str, Any]:
    """People of all sorts, over three instances of which two share a cell."""
    one, other = make_cell(), make_cell()
    instances = [make_instance(cell=one), make_instance(cell=one, kind="shared"), make_instance(cell=other)]
    tenant = make_tenant()
    place(tenant, instances[1])
    found: dict[str, Any] = {
        name: make_user() for name in ("cell", "account", "tenant", "all", "none", "ended")
    }
    grant(found["cell"], "operator", ScopeKind.CELL, one)
    grant(found["account"], "viewer", ScopeKind.ACCOUNT, other.region.account)
    grant(found["tenant"], "operator", ScopeKind.TENANT, tenant)
    grant(found["all"], "viewer")
    grant(found["ended"], "viewer", until=timezone.now() + timedelta(hours=1))
    with as_system():
        ScopeUserPermission.objects.filter(user=found["ended"]).update(until=timezone.now())
    return {**found, "superuser": make_user(superuser=True), "nobody": AnonymousUser()}


class TestScoped:
    def test_each_sees_what_they_saw(self, readers: dict[str, Any]) -> None:
        for _ in range(2):  # compiled, and asked again
            for who, user in readers.items():
                for permission in PERMISSIONS:
                    assert _seen(user, permission) == _plainly(user, permission), (who, permission)

    def test_a_reader_has_the_scopes_and_nothing_else(self, readers: dict[str, Any]) -> None:
        for user in readers.values():
            reader = reader_of(user)
            for permission in PERMISSIONS:
                assert scopes_of(reader, permission) == scopes_of(user, permission)
            for name in ("pk", "id", "username", "email", "groups"):
                assert not hasattr(reader, name)

    def test_who_holds_the_same_is_the_same_reader(self) -> None:
        cell = make_cell()
        ann, bob = make_user(), make_user()
        for user in (ann, bob):
            grant(user, "viewer", ScopeKind.CELL, cell)
        assert reader_of(ann) is reader_of(bob)
        grant(bob, "viewer", ScopeKind.CELL, make_cell())
        assert reader_of(ann) is not reader_of(bob)

    def test_what_is_given_or_taken_counts_at_once(self) -> None:
        user, instance = make_user(), make_instance()
        assert _seen(user, Permission.VIEW) == []
        grant(user, "viewer", ScopeKind.CELL, instance.cell)
        assert _seen(user, Permission.VIEW) == [instance.pk]
        with as_system():
            user.grants.all().delete()
        assert _seen(User.objects.get(pk=user.pk), Permission.VIEW) == _plainly(
            User.objects.get(pk=user.pk), Permission.VIEW
        )

    def test_a_token_that_narrows_is_another_reader(self) -> None:
        user, instance = make_user(superuser=True), make_instance()
        assert _seen(user, Permission.VIEW) == [instance.pk]
        user._only = frozenset({Permission.EXPORT.value})  # type: ignore[attr-defined]
        assert _seen(user, Permission.VIEW) == []
        assert _seen(user, Permission.EXPORT) == [instance.pk]

    def test_scopes_that_are_read_anew_make_another_reader_whatever_the_token_may(self) -> None:
        user, instance = make_user(), make_instance()
        user._only = frozenset({Permission.EXPORT.value})  # type: ignore[attr-defined]
        assert _seen(user, Permission.EXPORT) == []
        make_role("exporter", ["export"])
        grant(user, "exporter", ScopeKind.CELL, instance.cell)
        assert _seen(user, Permission.EXPORT) == [instance.pk]

    def test_who_is_no_longer_active_sees_nothing(self) -> None:
        user, instance = make_user(superuser=True), make_instance()
        assert _seen(user, Permission.VIEW) == [instance.pk]
        user.is_active = False
        assert _seen(user, Permission.VIEW) == []


class TestWhoIsSignedIn:
    def test_one_is_found_by_key_as_ever(self) -> None:
        user = make_user()
        assert User.objects.get(pk=user.pk) == user
        for asked in ({"pk": 0}, {"pk": user.pk, "username": "another"}):
            with pytest.raises(User.DoesNotExist):
                User.objects.get(**asked)

    def test_a_migration_gets_the_users_of_its_time(self) -> None:
        """A migration's manager is of this class, and of another model: one with the columns that there are then."""
        user = make_user()
        model = MigrationLoader(connection).project_state().apps.get_model("access", "User")
        assert type(model.objects.get(pk=user.pk)) is model

    def test_members_of_a_group_stay_its_members(self) -> None:
        member, other = make_user(), make_user()
        with as_system():
            group = Group.objects.create(name="g")
            group.user_set.add(member)
        assert group.user_set.get(pk=member.pk) == member
        with pytest.raises(User.DoesNotExist):
            group.user_set.get(pk=other.pk)

    def test_a_session_that_has_ended_is_none(self) -> None:
        client, user = Client(), make_user()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        key = client.session.session_key
        assert SessionStore(key).load()["_auth_user_id"] == str(user.pk)
        Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
        ended = SessionStore(key)
        assert ended.load() == {}
        assert ended.session_key is None

    def test_it_is_read_on_each_request(self) -> None:
        client, user = Client(), make_user()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        client.get("/", headers={"Host": "localhost"})
        with CaptureQueriesContext(connection) as asked:
            client.get("/", headers={"Host": "localhost"})
        sent = " ".join(query["sql"] for query in asked)
        assert all(f'FROM "{table}"' in sent for table in ("django_session", "access_user"))
        with as_system():
            user.is_active = False
            user.save()
        assert client.get("/", headers={"Host": "localhost"}).status_code == 302
