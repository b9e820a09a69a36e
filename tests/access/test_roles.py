"""Roles and groups: who may change them, within what, and that nobody shuts everybody out."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from apps.access import granting, lockout, roles, services
from apps.access.choices import SEEDED_ROLES, Permission
from apps.access.models import Grant, Role, User
from apps.access.scoping import holds, scopes_of
from apps.audit.models import AuditEntry
from tests import factories

pytestmark = pytest.mark.django_db
WHY = "asked for in ticket 7"


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def fresh(user: User) -> User:
    return User.objects.get(pk=user.pk)


@pytest.fixture
def chief() -> User:
    user = factories.make_user("chief")
    factories.grant(user, "admin")
    return user


@pytest.fixture
def ada() -> User:
    return factories.make_user("ada")


def save(by: User, role: Role, *permissions: str, **more: str) -> Any:
    data = {"name": role.name, "description": "", "permissions": list(permissions), "reason": WHY, **more}
    return signed_in(by).post(reverse("access:role", args=[role.pk]), data)


class TestRoles:
    def test_a_change_reaches_everybody_who_holds_it_and_is_recorded(self, chief: User, ada: User) -> None:
        role = factories.make_role("night", ["view"])
        factories.grant(ada, "night")
        assert save(chief, role, "view", "restart").status_code == 302
        assert holds(fresh(ada), "restart")
        entry = AuditEntry.objects.filter(object_id=role.pk, content_type__model="role").latest("pk")
        assert (entry.actor, entry.reason) == (chief, WHY)
        save(chief, role, "view")
        assert not holds(fresh(ada), "restart")

    def test_nobody_allows_what_they_may_not_themselves(self, ada: User) -> None:
        factories.make_role("keeper", ["view", "manage_access"])
        factories.grant(ada, "keeper")
        role = factories.make_role("night", ["view"])
        assert save(ada, role, "view", "restart").status_code == 422
        role.refresh_from_db()
        assert role.permissions == ["view"]

    def test_a_part_is_not_enough(self, ada: User) -> None:
        factories.grant(ada, "admin", "account", factories.make_account())
        role = factories.make_role("night", ["view"])
        assert save(ada, role, "view").status_code == 403

    def test_it_needs_a_reason_and_a_free_name(self, chief: User) -> None:
        role = factories.make_role("night", ["view"])
        factories.make_role("day", ["view"])
        assert save(chief, role, "view", reason="").status_code == 422
        assert save(chief, role, "view", name="day").status_code == 422

    def test_a_seeded_role_keeps_its_name_and_stays(self, chief: User) -> None:
        services.seed_roles()
        role = Role.objects.get(name="viewer")
        assert save(chief, role, "view", name="looker").status_code == 422
        signed_in(chief).post(reverse("access:delete_role", args=[role.pk]), {"reason": WHY})
        assert Role.objects.filter(name="viewer").exists()

    def test_a_role_nobody_holds_can_be_deleted_one_that_is_held_cannot(self, chief: User, ada: User) -> None:
        role = factories.make_role("night", ["view"])
        given = factories.grant(ada, "night")
        url = reverse("access:delete_role", args=[role.pk])
        signed_in(chief).post(url, {"reason": WHY})
        assert Role.objects.filter(pk=role.pk).exists()
        services.take_grant(given, actor=chief, reason=WHY)
        signed_in(chief).post(url, {"reason": WHY})
        assert not Role.objects.filter(pk=role.pk).exists()

    def test_the_matrix_shows_each_role_and_permission(self, chief: User) -> None:
        text = signed_in(chief).get(reverse("access:roles")).content.decode()
        assert all(f">{name}</a>" in text for name in SEEDED_ROLES)
        assert all(str(permission.label).split("'")[0] in text for permission in Permission)


class TestNobodyIsShutOut:
    def test_the_role_of_the_last_manager_keeps_its_permission(self, chief: User) -> None:
        answer = save(chief, Role.objects.get(name="admin"), "view")
        assert answer.status_code == 422
        assert "nobody could give access" in answer.content.decode()
        assert holds(fresh(chief), "manage_access")

    def test_the_grant_of_the_last_manager_cannot_be_taken(self, chief: User) -> None:
        grant = Grant.objects.get(user=chief)
        with pytest.raises(granting.NotGiven, match="nobody could give access"):
            granting.take(actor=chief, grant=grant, reason=WHY)
        assert Grant.objects.filter(user=chief).exists()
        assert holds(fresh(chief), "manage_access")

    def test_with_a_second_one_it_can(self, chief: User, ada: User) -> None:
        factories.grant(ada, "admin")
        granting.take(actor=ada, grant=Grant.objects.get(user=chief), reason=WHY)
        assert not holds(fresh(chief), "manage_access")

    def test_an_end_in_sight_does_not_count(self, chief: User, ada: User) -> None:
        from django.utils import timezone

        factories.grant(ada, "admin", until=timezone.now() + timezone.timedelta(hours=1))
        with pytest.raises(granting.NotGiven):
            granting.take(actor=ada, grant=Grant.objects.get(user=chief), reason=WHY)

    def test_the_last_one_by_a_group_stays_in_it(self, ada: User) -> None:
        with factories.as_system():
            group = Group.objects.create(name="keepers")
            ada.groups.add(group)
        with factories.as_system():
            everything = services.scope_for("everything")
        services.give_grant(
            to=group, role=factories.make_role("admin"), scope=everything, actor=ada, reason=WHY
        )  # fmt: skip
        assert lockout.managers() == {ada.pk}
        with pytest.raises(granting.NotGiven):
            roles.take_out_of_group(group, ada, actor=fresh(ada), reason=WHY)
        assert ada.groups.exists()

    def test_the_admin_does_not_end_there_either(self, chief: User) -> None:
        url = reverse("admin:access_grant_delete", args=[Grant.objects.get(user=chief).pk])
        assert signed_in(chief).post(url, {"post": "yes", "fix_reason": WHY}).status_code == 403
        url = reverse("admin:access_user_change", args=[chief.pk])
        data = {"username": "chief", "email": "c@example.com", "fix_reason": WHY}
        assert signed_in(chief).post(url, data).status_code == 403
        assert fresh(chief).is_active


class TestGroups:
    @pytest.fixture
    def group(self, chief: User) -> Group:
        return roles.make_group(name="on-call", actor=chief, reason=WHY)

    def test_who_is_put_in_holds_what_it_was_given(self, chief: User, ada: User, group: Group) -> None:
        client = signed_in(chief)
        viewer = factories.make_role("viewer").pk
        given = {"role": viewer, "kind": "everything", "reason": WHY}
        assert client.post(reverse("access:give_to_group", args=[group.pk]), given).status_code == 302
        put_in = reverse("access:put_in_group", args=[group.pk])
        assert client.post(put_in, {"who": "ada", "reason": WHY}).status_code == 302
        assert scopes_of(fresh(ada), "view").everything
        out = reverse("access:take_out_of_group", args=[group.pk])
        client.post(out, {"who": "ada", "reason": WHY})
        assert not holds(fresh(ada), "view")
        assert (
            AuditEntry.objects.filter(object_id=ada.pk, reason=WHY, content_type__model="user").count() == 2
        )

    def test_not_oneself_and_nobody_unknown(self, chief: User, group: Group) -> None:
        put_in = reverse("access:put_in_group", args=[group.pk])
        for who in ("chief", "nobody"):
            assert signed_in(chief).post(put_in, {"who": who, "reason": WHY}).status_code == 422

    def test_no_group_above_ones_own(self, chief: User, ada: User, group: Group) -> None:
        granting.give(
            actor=chief, person=group, role=factories.make_role("operator"), kind="everything", name="", reason=WHY
        )  # fmt: skip
        factories.make_role("keeper", ["view", "manage_access"])
        factories.grant(ada, "keeper")
        bob = factories.make_user("bob")
        answer = signed_in(ada).post(
            reverse("access:put_in_group", args=[group.pk]), {"who": "bob", "reason": WHY}
        )
        assert answer.status_code == 422
        assert not bob.groups.exists()

    def test_its_page_shows_grants_where_one_manages_access(
        self, chief: User, ada: User, group: Group
    ) -> None:
        mine, other = factories.make_account("mine"), factories.make_account("elsewhere")
        for account in (mine, other):
            granting.give(
                actor=chief, person=group, role=factories.make_role("viewer"), kind="account", name=account.name,
                reason=WHY,
            )  # fmt: skip
        factories.grant(ada, "admin", "account", mine)
        for url in (reverse("access:group", args=[group.pk]), reverse("access:groups")):
            text = signed_in(ada).get(url).content.decode()
            assert "account mine" in text
            assert "elsewhere" not in text
