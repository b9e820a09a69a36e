"""Ways by which somebody could have come to hold, see or keep more than they were given."""

import threading
import time
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse

from apps.access.choices import Permission
from apps.access.models import Grant, Role, User
from apps.access.scoping import holds, scopes_of, visible
from apps.access.services import give_grant, scope_for, take_grant
from apps.fleet.models import Placement
from apps.operations.models import Operation
from apps.operations.services import submit
from tests import factories

REASON = "ticket 7"


@pytest.fixture
def manager(db: None) -> User:
    """Fixes data and manages access, everywhere; operates nothing."""
    user = factories.make_user("manager")
    factories.make_role("manager", ["view", "fix_data", "manage_access"])
    factories.grant(user, "manager")
    return user


def post(user: User, name: str, /, *args: Any, **data: Any) -> int:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client.post(reverse(f"admin:{name}", args=args), {"fix_reason": REASON, **data}).status_code


class TestTheAdmin:
    def give(self, manager: User, to: User, role: str) -> int:
        with factories.as_system():
            scope = scope_for("everything")
        return post(
            manager, "access_grant_add", user=to.pk, role=factories.make_role(role).pk, scope=scope.pk
        )

    def test_nobody_gives_themselves_access(self, manager: User) -> None:
        assert self.give(manager, manager, "viewer") == 403
        assert Grant.objects.filter(user=manager).count() == 1

    def test_nobody_gives_what_they_do_not_hold(self, manager: User) -> None:
        ada = factories.make_user("ada")
        assert self.give(manager, ada, "operator") == 403
        assert self.give(manager, ada, "viewer") == 302
        assert [str(g.role) for g in Grant.objects.filter(user=ada)] == ["viewer"]

    def test_nobody_makes_a_role_of_theirs_allow_more(self, manager: User) -> None:
        role = Role.objects.get(name="manager")
        wanted = ["view", "fix_data", "manage_access", "deploy"]
        data = {"name": "manager", "description": "", "permissions": wanted}
        assert post(manager, "access_role_change", role.pk, **data) == 403
        assert not holds(User.objects.get(pk=manager.pk), "deploy")
        assert post(manager, "access_role_change", role.pk, **{**data, "permissions": wanted[:3]}) == 302

    def test_nobody_joins_a_group_by_their_own_hand(self, manager: User) -> None:
        with factories.as_system():
            group = Group.objects.create(name="on call")
        data = {"username": "manager", "email": manager.email, "is_active": "on", "groups": [group.pk]}
        post(manager, "access_user_change", manager.pk, **data)
        assert not manager.groups.exists()

    def person(self, user: User, **changes: Any) -> dict[str, Any]:
        return {"username": user.username, "email": user.email, "is_active": "on", **changes}

    def test_nobody_puts_a_colleague_into_a_stronger_group(self, manager: User) -> None:
        ada = factories.make_user("ada")
        with factories.as_system():
            strong, weak = Group.objects.create(name="strong"), Group.objects.create(name="weak")
            for group, role in ((strong, "operator"), (weak, "viewer")):
                give_grant(
                    to=group,
                    role=factories.make_role(role),
                    scope=scope_for("everything"),
                    actor=ada,
                    reason="x y",
                )
        change = self.person(ada, groups=[strong.pk])
        assert post(manager, "access_user_change", ada.pk, **change) == 403
        assert not ada.groups.exists()
        new = self.person(User(username="eve", email="eve@example.com"), groups=[strong.pk])
        assert post(manager, "access_user_add", **new) == 403
        assert not User.objects.filter(username="eve").exists()
        assert post(manager, "access_user_change", ada.pk, **self.person(ada, groups=[weak.pk])) == 302
        assert list(ada.groups.all()) == [weak]

    def test_nobody_moves_the_address_that_a_colleague_signs_in_by(self, manager: User) -> None:
        ada = factories.make_user("ada")
        change = self.person(ada, email="mine@example.com", username="mine", first_name="Ada")
        assert post(manager, "access_user_change", ada.pk, **change) == 302
        ada.refresh_from_db()
        assert (ada.email, ada.username, ada.first_name) == ("ada@example.com", "ada", "Ada")

    @pytest.mark.parametrize("through", ["grant", "group"])
    def test_who_may_do_more_is_not_theirs_to_change(self, manager: User, through: str) -> None:
        ada = factories.make_user("ada")
        if through == "grant":
            factories.grant(ada, "operator", "account", factories.make_account())
        else:
            with factories.as_system():
                group = Group.objects.create(name="strong")
                ada.groups.add(group)
                give_grant(
                    to=group,
                    role=factories.make_role("operator"),
                    scope=scope_for("everything"),
                    actor=ada,
                    reason="x y",
                )
        with factories.as_system():
            factor = Authenticator.objects.create(user=ada, type="totp", data={})
        assert post(manager, "access_user_change", ada.pk, **self.person(ada, first_name="x")) == 403
        assert post(manager, "access_user_delete", ada.pk, post="yes") == 403
        assert post(manager, "mfa_authenticator_delete", factor.pk, post="yes") == 403
        assert Authenticator.objects.filter(pk=factor.pk).exists()


@pytest.mark.django_db
class TestAnothersDedicatedInstance:
    def test_a_tenants_people_do_not_place_it_there(self) -> None:
        mine, theirs = factories.make_tenant(), factories.make_instance()
        user = factories.make_user()
        factories.grant(user, "viewer")
        factories.grant(user, "admin", "tenant", mine)
        data = {"tenant": mine.pk, "instance": theirs.pk, "since_0": "2026-01-01", "since_1": "00:00"}
        assert post(user, "fleet_placement_add", **data) == 200  # the form again, with its error
        assert not Placement.objects.exists()

    def test_a_second_tenant_is_refused_there(self) -> None:
        instance = factories.make_instance()
        first = factories.place(factories.make_tenant(), instance)
        first.full_clean()
        with pytest.raises(ValidationError, match="dedicated to another"):
            Placement(tenant=factories.make_tenant(), instance=instance).full_clean()

    def test_one_that_serves_several_is_not_called_dedicated(self) -> None:
        instance = factories.make_instance(kind="shared")
        for _ in range(2):
            factories.place(factories.make_tenant(), instance)
        instance.kind = "dedicated"
        with pytest.raises(ValidationError, match="several tenants"):
            instance.full_clean()

    def test_what_was_done_for_the_tenant_before_is_not_told(self) -> None:
        instance, before, now = factories.make_instance(), factories.make_tenant(), factories.make_tenant()
        placed = factories.place(before, instance)
        boss, reader = factories.make_user(superuser=True), factories.make_user()
        submit(kind="restart", target_id=instance.pk, actor=boss, reason="ticket of the one before")
        with factories.as_system():
            placed.delete()
        factories.place(now, instance)
        factories.grant(reader, "viewer", "tenant", now)
        assert not visible(reader, Operation).exists()


@pytest.mark.django_db(transaction=True)
def test_the_last_two_grants_taken_at_once_leave_nothing() -> None:
    user = factories.make_user()
    grants = [factories.grant(user, role) for role in ("viewer", "support")]

    def take(grant: Grant) -> None:
        try:
            take_grant(grant, actor=user, reason=REASON)
        finally:
            connection.close()

    with transaction.atomic():
        take_grant(grants[0], actor=user, reason=REASON)
        other = threading.Thread(target=take, args=[grants[1]])
        other.start()
        time.sleep(0.5)
    other.join(10)
    assert not Grant.objects.exists()
    assert not scopes_of(User.objects.get(pk=user.pk), Permission.VIEW)
