"""SCIM groups: kept as the directory pushes them, meaning what a manager mapped, within what the token may give."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.urls import reverse

from apps.access import sso
from apps.access.models import ScimGroup, User
from apps.access.scoping import holds
from apps.audit.models import AuditEntry
from tests import factories
from tests.access.scim import Directory, admin, mapped
from tests.access.test_scim_users import is_error

pytestmark = pytest.mark.django_db


@pytest.fixture
def directory() -> Directory:
    return Directory()


def names(group: Group) -> list[str]:
    return sorted(group.user_set.values_list("username", flat=True))


class TestMeaning:
    def test_a_pushed_group_means_what_it_is_mapped_to(self, directory: Directory) -> None:
        ours = mapped("Support EU")
        ada, bob = directory.person("ada"), directory.person("bob")
        pk = directory.group("Support EU", ada)
        assert (names(ours), holds(User.objects.get(pk=ada.pk), "read_logs")) == (["ada"], True)
        directory.patch(f"Groups/{pk}", {"op": "Add", "path": "members", "value": [{"value": str(bob.pk)}]})
        assert names(ours) == ["ada", "bob"]
        directory.patch(f"Groups/{pk}", {"op": "remove", "path": f'members[value eq "{ada.pk}"]'})
        assert names(ours) == ["bob"]
        entry = AuditEntry.objects.filter(
            content_type__model="user", object_id=ada.pk, changes__has_key="groups"
        ).latest("pk")
        assert (entry.actor.username, entry.via) == ("system:scim", "scim")
        assert directory.token.start in entry.reason
        assert directory("DELETE", f"Groups/{pk}").status_code == 204
        assert names(ours) == []

    def test_by_its_external_id_too(self, directory: Directory) -> None:
        ours = mapped("0a1b-guid")
        directory.group("Anything", directory.person(), externalId="0a1b-guid")
        assert names(ours) == ["ada"]

    def test_what_is_not_mapped_means_nothing_until_it_is(self, directory: Directory) -> None:
        directory.group("Readers", directory.person())
        assert not Group.objects.filter(user__username="ada").exists()
        with factories.as_system():
            ours = Group.objects.create(name="ours")
        sso.map_group(claim="Readers", group=ours, actor=directory.owner, reason="ticket 9")
        assert names(ours) == ["ada"]

    def test_renamed_it_means_something_else(self, directory: Directory) -> None:
        one, other = mapped("one"), mapped("other")
        pk = directory.group("one", directory.person())
        directory.patch(f"Groups/{pk}", {"op": "Replace", "value": {"id": pk, "displayName": "other"}})
        assert (names(one), names(other)) == ([], ["ada"])

    def test_who_is_in_by_another_group_stays(self, directory: Directory) -> None:
        ours, ada = mapped("one"), directory.person()
        with factories.as_system():
            from apps.access.models import SsoGroup

            SsoGroup.objects.create(claim="two", group=ours)
        pk = directory.group("one", ada)
        directory.group("two", ada)
        directory("DELETE", f"Groups/{pk}")
        assert names(ours) == ["ada"]

    def test_a_sign_in_without_groups_takes_nobody_out(self, directory: Directory) -> None:
        ours, ada = mapped("one"), directory.person()
        directory.group("one", ada)
        sso.sync(ada, frozenset())
        assert names(ours) == ["ada"]

    def test_members_by_put_and_as_entra_removes_them(self, directory: Directory) -> None:
        ours = mapped("one")
        ada, bob, cyd = (directory.person(name) for name in ("ada", "bob", "cyd"))
        pk = directory.group("one", ada, bob)
        body = {"displayName": "one", "members": [{"value": str(bob.pk)}, {"value": str(cyd.pk)}]}
        assert [one["display"] for one in directory("PUT", f"Groups/{pk}", body).json()["members"]] == [
            "bob",
            "cyd",
        ]
        directory.patch(
            f"Groups/{pk}", {"op": "Remove", "path": "members", "value": [{"value": str(bob.pk)}]}
        )
        assert names(ours) == ["cyd"]
        directory.patch(
            f"Groups/{pk}", {"op": "replace", "path": "members", "value": [{"value": str(ada.pk)}]}
        )
        assert names(ours) == ["ada"]
        directory.patch(f"Groups/{pk}", {"op": "remove", "path": "members"})
        assert names(ours) == []

    def test_who_comes_back_is_in_their_groups_again(self, directory: Directory) -> None:
        ours, ada = mapped("one"), directory.person()
        directory.group("one", ada)
        directory.patch(f"Users/{ada.pk}", {"op": "replace", "value": {"active": False}})
        assert names(ours) == []
        answer = directory.patch(f"Users/{ada.pk}", {"op": "replace", "value": {"active": True}})
        assert (answer.json()["active"], names(ours)) == (True, ["ada"])


class TestWithin:
    @pytest.mark.parametrize("role", ["operator", "admin", "on-call"])
    def test_a_group_that_may_more_than_the_token_gives(self, directory: Directory, role: str) -> None:
        ours, ada = mapped("ops", role), directory.person()
        answer = directory("POST", "Groups", {"displayName": "ops", "members": [{"value": str(ada.pk)}]})
        assert is_error(answer, 403)
        assert names(ours) == []
        assert not ScimGroup.objects.exists()
        pk = directory.group("harmless", ada)  # nor by a name that comes later
        assert is_error(
            directory.patch(f"Groups/{pk}", {"op": "replace", "value": {"displayName": "ops"}}), 403
        )
        assert (names(ours), ScimGroup.objects.get().display_name) == ([], "harmless")

    def test_nor_more_than_its_owner_holds_now(self) -> None:
        owner = admin()
        directory = Directory(owner, gives=("view", "export", "read_logs", "see_cost"))
        ours, ada = mapped("money", "finance"), directory.person()
        factories.make_role("books", ["view", "export", "see_cost"])
        with factories.as_system():
            from apps.access.services import scope_for, sync_permissions

            ours.grants.all().delete()
            sync_permissions(ours, scope_for("everything"))
        from apps.access.services import give_grant, system_actor, take_grant

        give_grant(
            to=ours, role=factories.make_role("books"), scope=scope_for("everything"), actor=system_actor("command"), reason="x"
        )  # fmt: skip
        pk = directory.group("money", ada)
        assert names(ours) == ["ada"]
        directory.patch(f"Groups/{pk}", {"op": "remove", "path": "members"})
        factories.make_role("less", ["view", "export", "provision"])
        factories.grant(owner, "less")
        take_grant(owner.grants.get(role__name="admin"), actor=admin(), reason="less")
        answer = directory.patch(
            f"Groups/{pk}", {"op": "add", "path": "members", "value": [{"value": str(ada.pk)}]}
        )
        assert is_error(answer, 403)
        assert names(ours) == []

    def test_taking_out_is_always_allowed(self, directory: Directory) -> None:
        ours, ada = mapped("one"), directory.person()
        pk = directory.group("one", ada)
        with factories.as_system():
            from apps.access.services import give_grant, scope_for, system_actor

            give_grant(
                to=ours, role=factories.make_role("operator"), scope=scope_for("everything"), actor=system_actor("command"), reason="x"
            )  # fmt: skip
        assert directory("DELETE", f"Groups/{pk}").status_code == 204
        assert names(ours) == []


class TestAsking:
    def test_finding_and_leaving_members_out(
        self, directory: Directory, django_assert_num_queries: Any
    ) -> None:
        ada = directory.person()
        for number in range(4):
            directory.group(f"g{number}", ada)

        def found(**query: str) -> list[Any]:
            answer = Client().get(
                "/scim/v2/Groups", query, headers={"Authorization": f"Bearer {directory.secret}"}
            )
            return list(answer.json()["Resources"])

        assert [one["displayName"] for one in found(filter='displayName eq "G2"')] == ["g2"]
        assert "members" not in found(excludedAttributes="members")[0]
        pk = found(filter='displayName eq "g1"')[0]["id"]
        assert len(found(filter=f'id eq "{pk}" and members eq "{ada.pk}"')) == 1
        assert found(filter=f'id eq "{pk}" and members eq "999999"') == []
        for count in ("1", "4"):
            with django_assert_num_queries(6):
                found(count=count)
        assert [one["display"] for one in directory("GET", f"Users/{ada.pk}").json()["groups"]] == [
            "g0",
            "g1",
            "g2",
            "g3",
        ]

    @pytest.mark.parametrize(
        ("body", "status", "kind"),
        [
            ({}, 400, "invalidValue"), ({"displayName": ""}, 400, "invalidValue"), ({"displayName": "taken"}, 409, "uniqueness"),
            ({"displayName": "TAKEN"}, 409, "uniqueness"), ({"displayName": "x", "externalId": "e"}, 409, "uniqueness"),
            ({"displayName": "x", "members": [{"value": "999999"}]}, 400, "invalidValue"),
            ({"displayName": "x", "members": [{"value": "x"}]}, 400, "invalidValue"),
            ({"displayName": "x", "members": 7}, 400, "invalidValue"), ({"displayName": "x", "members": [[]]}, 400, "invalidValue"),
        ],
        ids=str,
    )  # fmt: skip
    def test_bad_groups(self, directory: Directory, body: Any, status: int, kind: str) -> None:
        directory.group("taken", externalId="e")
        assert is_error(directory("POST", "Groups", body), status, kind)
        assert ScimGroup.objects.count() == 1

    @pytest.mark.parametrize(
        "operation",
        [
            {"op": "replace", "path": "colour", "value": "x"},
            {"op": "remove", "path": 'members[display eq "ada"]'},
        ],
        ids=str,
    )
    def test_bad_patches(self, directory: Directory, operation: Any) -> None:
        pk = directory.group("one", directory.person())
        assert is_error(directory.patch(f"Groups/{pk}", operation), 400, "invalidPath")
        assert ScimGroup.objects.get().members.count() == 1
        assert is_error(
            directory.patch("Groups/999999", {"op": "replace", "value": {"displayName": "x"}}), 404
        )

    def test_the_page(self, directory: Directory, client: Client) -> None:
        client.force_login(directory.owner, backend="django.contrib.auth.backends.ModelBackend")
        ours = mapped("one")
        directory.group("one", directory.person())
        directory.group("two")
        page = client.get(reverse("access:scim"))
        text = page.content.decode()
        assert "okta" in text
        assert str(ours) in text
        assert "/scim/v2/" in text
        assert directory.secret not in text
        assert client.get(f"{reverse('audit:list')}?via=scim").context["table"].rows


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def run(self, *calls: Any) -> list[Any]:
        answers: list[Any] = []

        def call(one: Any) -> None:
            try:
                answers.append(one())
            finally:
                connection.close()

        threads = [threading.Thread(target=call, args=(one,)) for one in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        return answers

    def test_two_that_make_the_same_make_one(self) -> None:
        directory = Directory()
        answers = self.run(*[lambda: directory("POST", "Users", {"userName": "ada"})] * 2, lambda: directory("POST", "Users", {"userName": "ADA"}))  # fmt: skip
        assert sorted(one.status_code for one in answers) == [201, 409, 409]
        assert User.objects.filter(username__iexact="ada").count() == 1

    def test_members_that_come_at_once_are_all_in(self) -> None:
        directory = Directory()
        ours = mapped("one")
        people = [directory.person(f"p{number}") for number in range(4)]
        pk = directory.group("one")

        def add(person: User) -> Any:
            return lambda: directory.patch(
                f"Groups/{pk}", {"op": "add", "path": "members", "value": [{"value": str(person.pk)}]}
            )

        answers = self.run(*[add(one) for one in people])
        assert [one.status_code for one in answers] == [200] * 4
        assert names(ours) == ["p0", "p1", "p2", "p3"]
