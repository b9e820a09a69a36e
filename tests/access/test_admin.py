"""The admin is one more page: no way around permission, guard rail or audit, and no change without its reason."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.access.fixadmin import FixAdmin
from apps.access.models import Grant, Role, User
from apps.access.scoping import holds, scopes_of
from apps.access.services import system_actor
from apps.accounts.models import Account
from apps.audit.models import AuditEntry
from apps.core.models import Event
from apps.fleet.models import Instance, Placement
from apps.operations.models import Operation
from apps.tenants.models import Domain, Plan, Tenant
from tests import factories

pytestmark = pytest.mark.django_db
REASON = "typing error, ticket 7"


@pytest.fixture
def root() -> User:
    return factories.make_user("root", superuser=True)


@pytest.fixture
def fixer() -> User:
    """Fixes data of one account only, and operates nothing."""
    user = factories.make_user("fixer")
    factories.make_role("fixer", ["view", "fix_data"])
    factories.grant(user, "fixer", "account", factories.make_account("mine"))
    return user


@pytest.fixture
def mine(fixer: User) -> Account:
    return Account.objects.get(name="mine")


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def page(obj: Any, what: str = "change") -> str:
    meta = obj._meta
    args = [] if isinstance(obj, type) else [obj.pk]
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{what}", args=args)


def last_entry(obj: Any) -> AuditEntry:
    content_type = ContentType.objects.get_for_model(type(obj))
    return AuditEntry.objects.filter(content_type=content_type, object_id=obj.pk).order_by("-pk")[0]


def account_data(account: Account, **changes: Any) -> dict[str, Any]:
    data = {
        name: getattr(account, name) for name in ("name", "cloud", "owner", "external_id", "contact", "notes")
    }
    return {**data, "fix_reason": REASON, **changes}


class TestWhoComesIn:
    def test_visitors_are_sent_to_the_consoles_sign_in(self) -> None:
        response = Client().get("/admin/accounts/account/", follow=True)
        assert response.redirect_chain[-1][0] == "/accounts/login/?next=/admin/accounts/account/"

    def test_it_sends_nobody_to_another_site(self) -> None:
        response = Client().get("/admin/login/?next=https://evil.example/")
        assert response["Location"] == "/accounts/login/?next=/admin/"

    def test_staff_flag_opens_nothing(self) -> None:
        user = factories.make_user(is_staff=True)
        factories.grant(user, "operator")
        assert signed_in(user).get("/admin/", follow=True).status_code == 403

    def test_who_holds_fix_data_comes_in_without_the_flag(self, fixer: User) -> None:
        response = signed_in(fixer).get("/admin/")
        assert response.status_code == 200
        assert 'href="/"' in response.content.decode()

    def test_inactive_people_do_not(self, fixer: User) -> None:
        client = signed_in(fixer)
        with factories.as_system():
            User.objects.filter(pk=fixer.pk).update(is_active=False)
        assert client.get("/admin/").status_code == 302

    def test_a_grant_taken_away_shuts_the_door_at_once(self, fixer: User) -> None:
        from apps.access.services import take_grant

        client = signed_in(fixer)
        assert client.get("/admin/").status_code == 200
        take_grant(fixer.grants.get(), actor=system_actor("command"), reason="left the team")
        assert client.get("/admin/", follow=True).status_code == 403

    def test_models_are_listed_from_the_top_floor_down(self, root: User) -> None:
        listed = [app["app_label"] for app in signed_in(root).get("/admin/").context["app_list"]]
        ours = [
            label
            for label in listed
            if label in ("fleet", "tenants", "accounts", "operations", "audit", "access", "core")
        ]
        assert ours == ["fleet", "tenants", "accounts", "operations", "audit", "access", "core"]

    def test_only_our_own_admins_are_registered(self) -> None:
        assert all(isinstance(a, FixAdmin) for a in admin.site._registry.values())

    def test_every_index_list_form_and_history_answers(self, root: User) -> None:
        instance = factories.make_instance()
        factories.place(factories.make_tenant(), instance)
        client = signed_in(root)
        for model, its_admin in admin.site._registry.items():
            assert client.get(page(model, "changelist")).status_code == 200, model
            if (row := model._default_manager.first()) is not None:
                assert client.get(page(row)).status_code == 200, model
                assert client.get(page(row, "history")).status_code == 200, model
            response = client.get(page(model, "add"))
            assert response.status_code == (
                200 if its_admin.has_add_permission(response.wsgi_request) else 403
            ), model


class TestReason:
    def test_a_change_without_a_reason_changes_nothing(self, fixer: User, mine: Account) -> None:
        response = signed_in(fixer).post(page(mine), account_data(mine, notes="new", fix_reason=" . "))
        mine.refresh_from_db()
        assert (response.status_code, mine.notes) == (200, "")
        assert "Say why" in response.content.decode()

    def test_a_change_is_recorded_with_its_reason(self, fixer: User, mine: Account) -> None:
        response = signed_in(fixer).post(page(mine), account_data(mine, notes="new"))
        assert response.status_code == 302, response.context["errors"]
        entry = last_entry(mine)
        assert (entry.actor, entry.reason, entry.via, entry.changes) == (
            fixer,
            REASON,
            "admin",
            {"notes": ["", "new"]},
        )
        told = Event.objects.get(kind="data.fixed", account_id=mine.pk)
        assert (told.actor, told.why, told.title) == (
            fixer,
            REASON,
            "Account mine was corrected by hand (Notes)",
        )

    def test_adding_asks_for_it_too(self, root: User) -> None:
        client, data = signed_in(root), {"name": "new", "cloud": "aws", "owner": "provider"}
        assert client.post(page(Account, "add"), data).status_code == 200
        assert not Account.objects.filter(name="new").exists()
        assert client.post(page(Account, "add"), {**data, "fix_reason": REASON}).status_code == 302
        assert last_entry(Account.objects.get(name="new")).reason == REASON

    def test_deleting_asks_for_it_too(self, root: User) -> None:
        account, client = factories.make_account(), signed_in(root)
        assert 'name="fix_reason"' in client.get(page(account, "delete")).content.decode()
        response = client.post(page(account, "delete"), {"post": "yes"})
        assert "Say why" in response.content.decode()
        assert Account.objects.filter(pk=account.pk).exists()
        client.post(page(account, "delete"), {"post": "yes", "fix_reason": REASON})
        assert not Account.objects.filter(pk=account.pk).exists()
        assert (last_entry(account).reason, last_entry(account).action) == (REASON, 2)
        assert Event.objects.get(kind="data.deleted").account_id == account.pk

    def test_deleting_many_asks_for_it_too(self, root: User) -> None:
        accounts, client = [factories.make_account(), factories.make_account()], signed_in(root)
        data = {"action": "delete_selected", ACTION_CHECKBOX_NAME: [a.pk for a in accounts]}
        url = page(Account, "changelist")
        for sent in (data, {**data, "post": "yes"}):
            response = client.post(url, sent)
            assert response.status_code == 200
            assert 'name="fix_reason"' in response.content.decode()
        assert "Say why" in response.content.decode()
        assert Account.objects.count() == 2
        client.post(url, {**data, "post": "yes", "fix_reason": REASON})
        assert Account.objects.count() == 0
        assert {last_entry(a).reason for a in accounts} == {REASON}
        assert Event.objects.filter(kind="data.deleted").count() == 2

    def test_history_is_the_trail(self, fixer: User, mine: Account) -> None:
        client = signed_in(fixer)
        client.post(page(mine), account_data(mine, notes="seen in the history"))
        text = client.get(page(mine, "history")).content.decode()
        assert REASON in text
        assert "seen in the history" in text


class TestScope:
    def test_out_of_scope_does_not_exist(self, fixer: User, mine: Account) -> None:
        other, client = factories.make_account("foreign"), signed_in(fixer)
        assert "foreign" not in client.get(page(Account, "changelist")).content.decode()
        for what in ("change", "delete", "history"):
            assert client.get(page(other, what)).status_code == 302, what
            client.post(page(other, what), account_data(other, notes="x", post="yes"))
        other.refresh_from_db()
        assert other.notes == ""

    def test_bulk_deletion_reaches_only_what_is_in_scope(self, fixer: User, mine: Account) -> None:
        other = factories.make_account("other")
        data = {
            "action": "delete_selected",
            ACTION_CHECKBOX_NAME: [other.pk, mine.pk],
            "post": "yes",
            "fix_reason": REASON,
        }
        signed_in(fixer).post(page(Account, "changelist"), data)
        assert list(Account.objects.values_list("name", flat=True)) == ["other"]

    def test_a_new_row_out_of_scope_is_undone(self, fixer: User) -> None:
        data = {"name": "new", "cloud": "aws", "owner": "provider", "fix_reason": REASON}
        assert signed_in(fixer).post(page(Account, "add"), data).status_code == 403
        assert not Account.objects.filter(name="new").exists()
        assert not Event.objects.filter(kind="data.fixed").exists()

    def test_a_row_cannot_be_moved_out_of_scope_nor_into_what_is_not_seen(
        self, fixer: User, mine: Account
    ) -> None:
        cell = factories.make_cell(account=mine)
        foreign = factories.make_cell()
        data = {
            "region": foreign.region_id,
            "name": "c",
            "provider": "simulated",
            "capacity": 5,
            "fix_reason": REASON,
        }
        response = signed_in(fixer).post(page(cell), data)
        assert response.status_code == 200
        assert "valid choice" in response.content.decode()
        cell.refresh_from_db()
        assert cell.region.account == mine

    def test_choosers_and_filters_show_only_what_is_seen(self, fixer: User, mine: Account) -> None:
        factories.make_cell("cell-mine", account=mine)
        factories.make_cell("cell-other")
        client = signed_in(fixer)
        query = {"app_label": "fleet", "model_name": "instance", "field_name": "cell", "term": "cell"}
        found = client.get(reverse("admin:autocomplete"), query).json()["results"]
        assert [hit["text"] for hit in found] == ["cell-mine"]
        assert "cell-other" not in client.get(page(Instance, "changelist")).content.decode()

    def test_an_account_carries_what_is_in_it_but_not_the_tenants_it_serves(
        self, fixer: User, mine: Account
    ) -> None:
        tenant, instance = (
            factories.make_tenant(),
            factories.make_instance(cell=factories.make_cell(account=mine)),
        )
        factories.place(tenant, instance)
        client = signed_in(fixer)
        assert client.get(page(instance)).status_code == 200
        assert client.get(page(tenant)).status_code == 302
        data = {"tenant": tenant.pk, "name": "x.example.com", "fix_reason": REASON}
        assert client.post(page(Domain, "add"), data).status_code == 403
        assert not Domain.objects.exists()

    def test_a_placement_on_ones_own_instance_can_be_fixed(self, fixer: User, mine: Account) -> None:
        tenant, other = factories.make_tenant(), factories.make_tenant()
        instance = factories.make_instance(cell=factories.make_cell(account=mine), kind="shared")
        factories.place(other, instance)
        factories.place(tenant, factories.make_instance(cell=instance.cell))
        data = {
            "tenant": tenant.pk,
            "instance": instance.pk,
            "since_0": "2026-01-01",
            "since_1": "00:00",
            "fix_reason": REASON,
        }
        response = signed_in(fixer).post(page(Placement, "add"), data)
        assert response.status_code == 302, response.context["errors"]
        told = Event.objects.get(kind="data.fixed")
        assert (told.tenant_id, told.instance_id) == (tenant.pk, instance.pk)

    def test_the_price_list_is_changed_only_by_who_may_fix_everything(self, fixer: User) -> None:
        plan, client = factories.make_plan(), signed_in(fixer)
        client.post(
            page(plan),
            {"name": "Free", "rank": 0, "monthly_price": 0, "currency": "EUR", "fix_reason": REASON},
        )
        assert Plan.objects.get().name == plan.name
        assert client.get(page(Plan, "add")).status_code == 403

    @pytest.mark.parametrize("model", [User, Group, Role, Grant, EmailAddress, Authenticator, AuditEntry])
    def test_who_may_do_what_is_not_for_a_scoped_person(self, model: type[Any], fixer: User) -> None:
        assert signed_in(fixer).get(page(model, "changelist")).status_code == 403


class TestInstances:
    def test_what_operations_decide_cannot_be_written(self, root: User) -> None:
        instance = factories.make_instance()
        data = {
            "kind": "shared", "locked_reason": "", "wanted": "stopped", "wanted_version": "9", "health": "failing",
            "version": "9", "generation": 99, "endpoint": "x", "name": "other", "fix_reason": REASON,
        }  # fmt: skip
        assert signed_in(root).post(page(instance), data).status_code == 302
        found = Instance.objects.get(pk=instance.pk)
        assert found.kind == "shared"
        kept = ("wanted", "wanted_version", "health", "version", "generation", "endpoint", "name")
        assert [getattr(found, n) for n in kept] == [getattr(instance, n) for n in kept]

    def test_a_running_instance_cannot_be_deleted(self, root: User) -> None:
        instance, client = factories.make_instance(), signed_in(root)
        assert client.post(page(instance, "delete"), {"post": "yes", "fix_reason": REASON}).status_code == 403
        with factories.as_system():
            Instance.objects.filter(pk=instance.pk).update(wanted="stopped", health="stopped")
        assert client.post(page(instance, "delete"), {"post": "yes", "fix_reason": REASON}).status_code == 302
        assert not Instance.objects.exists()

    def test_a_running_instance_is_not_deleted_among_many(self, root: User) -> None:
        instance = factories.make_instance()
        data = {
            "action": "delete_selected",
            ACTION_CHECKBOX_NAME: [instance.pk],
            "post": "yes",
            "fix_reason": REASON,
        }
        signed_in(root).post(page(Instance, "changelist"), data)
        assert Instance.objects.exists()

    def operate(self, user: User, *instances: Instance, **data: Any) -> Any:
        sent = {"action": "operate_restart", ACTION_CHECKBOX_NAME: [i.pk for i in instances], **data}
        return signed_in(user).post(page(Instance, "changelist"), sent)

    def test_operations_are_previewed_then_submitted(self, root: User) -> None:
        instance = factories.make_instance("shown")
        text = self.operate(root, instance).content.decode()
        assert "shown restarts" in text
        assert not Operation.objects.exists()
        assert "Say why" in self.operate(root, instance, confirmed="1").content.decode()
        assert not Operation.objects.exists()
        sent = {"confirmed": "1", "fix_reason": REASON, "key": "same"}
        assert self.operate(root, instance, **sent).status_code == 302
        self.operate(root, instance, **sent)
        operation = Operation.objects.get()
        assert (operation.actor, operation.reason, operation.via) == (root, REASON, "admin")

    def test_operations_pass_the_guard_rails(self, root: User) -> None:
        locked = factories.make_instance(locked_reason="moving house")
        text = self.operate(root, locked, confirmed="1", fix_reason=REASON).content.decode()
        assert "moving house" in text
        assert not Operation.objects.exists()

    def test_who_may_fix_data_may_not_therefore_operate(self, fixer: User, mine: Account) -> None:
        instance = factories.make_instance(cell=factories.make_cell(account=mine))
        self.operate(fixer, instance, confirmed="1", fix_reason=REASON)
        assert not Operation.objects.exists()


class TestPeople:
    def person_data(self, user: User, **changes: Any) -> dict[str, Any]:
        data: dict[str, Any] = {
            n: getattr(user, n) for n in ("username", "first_name", "last_name", "email", "zone")
        }
        return {
            **data,
            "is_active": "on",
            "groups": [g.pk for g in user.groups.all()],
            "fix_reason": REASON,
            **changes,
        }

    def test_a_new_person_has_no_password_anybody_knows(self, root: User) -> None:
        data = {
            "username": "ada",
            "email": "ada@example.com",
            "is_active": "on",
            "fix_reason": REASON,
            "password": "known",
        }
        response = signed_in(root).post(page(User, "add"), data)
        assert response.status_code == 302, response.context["errors"]
        assert not User.objects.get(username="ada").has_usable_password()

    def test_no_hash_is_shown(self, root: User) -> None:
        user = factories.make_user(password="canary-password-9")
        assert user.password not in signed_in(root).get(page(user)).content.decode()

    def test_only_a_superuser_makes_superusers_or_changes_one(self, root: User) -> None:
        boss = factories.make_user("boss")
        factories.grant(boss, "admin")
        client = signed_in(boss)
        client.post(page(boss), self.person_data(boss, is_superuser="on"))
        assert not User.objects.get(pk=boss.pk).is_superuser
        client.post(page(root), self.person_data(root, email="mine@example.com"))
        assert User.objects.get(pk=root.pk).email == root.email

    def test_system_actors_are_not_changed(self, root: User) -> None:
        actor = User.objects.get(pk=system_actor("command").pk)
        signed_in(root).post(page(actor), self.person_data(actor, first_name="me"))
        assert User.objects.get(pk=actor.pk).first_name == actor.first_name

    def test_nobody_deletes_themselves(self, root: User) -> None:
        assert (
            signed_in(root).post(page(root, "delete"), {"post": "yes", "fix_reason": REASON}).status_code
            == 403
        )

    def test_a_changed_role_reaches_its_holders_at_once(self, root: User) -> None:
        user = factories.make_user()
        given = factories.grant(user, "viewer")
        data = {"name": "viewer", "description": "", "permissions": ["view", "restart"], "fix_reason": REASON}
        response = signed_in(root).post(page(given.role), data)
        assert response.status_code == 302, response.context["errors"]
        assert holds(User.objects.get(pk=user.pk), "restart")

    def test_a_group_joined_or_left_takes_effect_at_once(self, root: User) -> None:
        from apps.access.services import give_grant, scope_for

        user, client = factories.make_user(), signed_in(root)
        with factories.as_system():
            group = Group.objects.create(name="on call")
            role, scope = factories.make_role("operator"), scope_for("everything")
            give_grant(to=group, role=role, scope=scope, actor=root, reason="x")
        client.post(page(user), self.person_data(user, groups=[group.pk]))
        assert scopes_of(User.objects.get(pk=user.pk), "deploy").everything
        client.post(page(user), self.person_data(user, groups=[]))
        assert not holds(User.objects.get(pk=user.pk), "deploy")
        assert last_entry(user).changes["groups"]["objects"] == ["on call"]

    def test_a_grant_is_given_moved_and_taken_by_the_services(self, root: User) -> None:
        user, account, client = factories.make_user(), factories.make_account(), signed_in(root)
        from apps.access.services import scope_for

        with factories.as_system():
            scope = scope_for("account", account)
        data = {
            "user": user.pk,
            "role": factories.make_role("operator").pk,
            "scope": scope.pk,
            "fix_reason": REASON,
        }
        response = client.post(page(Grant, "add"), data)
        assert response.status_code == 302, response.context["errors"]
        given = Grant.objects.get()
        assert (given.given_by, given.reason) == (root, REASON)
        assert scopes_of(User.objects.get(pk=user.pk), "deploy").accounts == {account.pk}

        soon = timezone.now() + timedelta(hours=1)
        client.post(
            page(given), {"until_0": f"{soon:%Y-%m-%d}", "until_1": f"{soon:%H:%M:%S}", "fix_reason": REASON}
        )
        assert Grant.objects.get().until is not None
        response = client.post(
            page(given), {"until_0": "2020-01-01", "until_1": "00:00", "fix_reason": REASON}
        )
        assert "has passed" in response.content.decode()

        client.post(page(given, "delete"), {"post": "yes", "fix_reason": REASON})
        assert not holds(User.objects.get(pk=user.pk), "deploy")

    def test_grants_deleted_in_bulk_are_taken_too(self, root: User) -> None:
        user = factories.make_user()
        given = factories.grant(user, "operator")
        data = {
            "action": "delete_selected",
            ACTION_CHECKBOX_NAME: [given.pk],
            "post": "yes",
            "fix_reason": REASON,
        }
        signed_in(root).post(page(Grant, "changelist"), data)
        assert not holds(User.objects.get(pk=user.pk), "view")

    def test_a_persons_deletion_takes_their_grants(self, root: User) -> None:
        user = factories.make_user()
        factories.grant(user, "operator")
        signed_in(root).post(page(user, "delete"), {"post": "yes", "fix_reason": REASON})
        assert not User.objects.filter(pk=user.pk).exists()

    def test_second_factors_show_no_secret(self, root: User) -> None:
        with factories.as_system():
            factor = Authenticator.objects.create(user=root, type="totp", data={"secret": "CANARYSEED"})
        client = signed_in(root)
        for url in (
            page(factor),
            page(Authenticator, "changelist"),
            page(factor, "history"),
            page(factor, "delete"),
        ):
            assert "CANARYSEED" not in client.get(url).content.decode(), url


class TestTrailStands:
    def test_entries_are_neither_added_changed_nor_deleted(self, root: User) -> None:
        factories.make_tenant()
        entry, client = AuditEntry.objects.latest("pk"), signed_in(root)
        assert client.get(page(AuditEntry, "add")).status_code == 403
        assert client.post(page(entry), {"reason": "x"}).status_code == 403
        assert client.post(page(entry, "delete"), {"post": "yes", "fix_reason": REASON}).status_code == 403

    def test_operations_are_read_only(self, root: User) -> None:
        from apps.operations.services import submit

        made = submit(kind="restart", target_id=factories.make_instance().pk, actor=root, reason="look at it")
        client = signed_in(root)
        assert client.get(page(made)).status_code == 200
        assert client.post(page(made), {"state": "succeeded", "fix_reason": REASON}).status_code == 403
        assert client.post(page(made, "delete"), {"post": "yes", "fix_reason": REASON}).status_code == 403
        assert client.get(page(Operation, "add")).status_code == 403


def test_lists_cost_the_same_whatever_their_length(django_assert_max_num_queries: Any) -> None:
    """Each list of the admin, with 2 rows and with 12."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    user = factories.make_user("root", superuser=True)
    client = signed_in(user)

    def costs() -> dict[str, int]:
        found = {}
        for model in admin.site._registry:
            with CaptureQueriesContext(
                connection,
            ) as queries:
                client.get(page(model, "changelist"))
            found[model._meta.label] = len(queries)
        return found

    def grow(times: int) -> None:
        for _ in range(times):
            tenant = factories.make_tenant()
            factories.place(tenant, factories.make_instance())
            factories.grant(factories.make_user(), "viewer", "tenant", tenant)

    grow(2)
    # Time stands still: a session says each minute that it is in use, and this takes longer than that.
    with time_machine.travel(timezone.now(), tick=False):
        costs()
        few = costs()
        grow(10)
        assert costs() == few
    assert Tenant.objects.count() == 12
