"""SCIM users: made, found, changed and gone as Okta and Entra ask for it; never more than the token may."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from apps.access import tokens
from apps.access.models import ApiToken, User
from apps.access.scim import reading
from apps.audit.models import AuditEntry
from apps.core.models import Event
from tests import factories
from tests.access.scim import Directory, admin

pytestmark = pytest.mark.django_db


@pytest.fixture
def directory() -> Directory:
    return Directory()


def is_error(answer: Any, status: int, kind: str = "") -> bool:
    body = answer.json()
    assert answer.headers["Content-Type"] == "application/scim+json"
    assert body["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
    assert body["detail"]
    return (answer.status_code, body["status"], body.get("scimType", "")) == (status, str(status), kind)


class TestTheDoor:
    @pytest.mark.parametrize("secret", ["", "dt_wrong", "x" * 999])
    def test_without_the_token_nothing(self, directory: Directory, secret: str) -> None:
        answer = directory("GET", "Users", secret=secret)
        assert is_error(answer, 401)
        assert answer.headers["WWW-Authenticate"] == "Bearer"

    def test_a_session_says_nothing(self, directory: Directory) -> None:
        client = Client()
        client.force_login(directory.owner, backend="django.contrib.auth.backends.ModelBackend")
        assert client.get("/scim/v2/Users").status_code == 401

    @pytest.mark.parametrize("end", ["expired", "revoked", "owner left"])
    def test_an_ended_token_is_none(self, directory: Directory, end: str) -> None:
        if end == "revoked":
            tokens.revoke(directory.token, actor=directory.owner)
        if end == "owner left":
            with factories.as_system():
                User.objects.filter(pk=directory.owner.pk).update(is_active=False)
        with time_machine.travel(timezone.now() + timedelta(days=31 if end == "expired" else 0)):
            assert is_error(directory("GET", "Users"), 401)

    def test_a_token_that_may_not_provision(self, directory: Directory) -> None:
        _, secret = tokens.issue(
            owner=directory.owner, name="ci", permissions=["view", "manage_access"], days=1
        )
        assert is_error(directory("GET", "Users", secret=secret), 403)
        assert AuditEntry.objects.filter(event="denied", actor=directory.owner).exists()

    def test_on_a_part_is_not_on_everything(self) -> None:
        owner = factories.make_user()
        factories.grant(owner, "admin", "account", factories.make_account())
        with pytest.raises(Exception, match="on everything"):
            Directory(owner)

    def test_the_owners_right_ends_the_tokens(self, directory: Directory) -> None:
        with factories.as_system():
            directory.owner.grants.all().delete()
        from apps.access.services import scope_for, sync_permissions

        sync_permissions(directory.owner, scope_for("everything"))
        assert is_error(directory("GET", "Users"), 403)

    def test_nor_does_its_token_open_the_api(self, directory: Directory) -> None:
        answer = Client().get("/api/v1/instances", headers={"Authorization": f"Bearer {directory.secret}"})
        assert answer.status_code == 403

    def test_who_calls_too_often_is_told_when_to_come_again(
        self, directory: Directory, settings: Any
    ) -> None:
        settings.API_CALLS_PER_MINUTE = 2
        assert [directory("GET", "Users").status_code for _ in range(3)] == [200, 200, 429]
        assert int(directory("GET", "Users").headers["Retry-After"]) <= 60

    def test_it_says_what_it_is(self, directory: Directory) -> None:
        config = directory("GET", "ServiceProviderConfig").json()
        assert (config["patch"]["supported"], config["bulk"]["supported"]) == (True, False)
        assert [one["id"] for one in directory("GET", "ResourceTypes").json()["Resources"]] == [
            "User",
            "Group",
        ]
        assert directory("GET", "ResourceTypes/Group").json()["endpoint"] == "/Groups"
        uris = [one["id"] for one in directory("GET", "Schemas").json()["Resources"]]
        assert all(directory("GET", f"Schemas/{uri}").json()["id"] == uri for uri in uris)
        assert is_error(directory("GET", "Schemas/urn:x"), 404)
        assert is_error(directory("GET", "Users/none"), 404)


class TestMaking:
    def test_the_whole_resource(self, directory: Directory) -> None:
        answer = directory(
            "POST", "Users",
            {
                "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "ada@corp.example", "externalId": "00u1",
                "name": {"givenName": "Ada", "familyName": "Lovelace"}, "active": True, "title": "Countess",
                "emails": [{"value": "home@x.example", "type": "home"}, {"value": "ada@corp.example", "type": "work"}],
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "Engines"},
                "unheardOf": {"a": 1}, "password": "canary-scim-password",
            },
        )  # fmt: skip
        assert answer.status_code == 201
        ada = User.objects.get(username="ada@corp.example")
        assert answer.headers["Location"].endswith(f"/scim/v2/Users/{ada.pk}")
        assert (ada.first_name, ada.last_name, ada.email, ada.external_id) == (
            "Ada",
            "Lovelace",
            "ada@corp.example",
            "00u1",
        )
        assert (ada.is_active, ada.is_superuser, ada.has_usable_password(), ada.grants.count()) == (
            True,
            False,
            False,
            0,
        )
        body = directory("GET", f"Users/{ada.pk}").json()
        assert (body["userName"], body["active"], body["name"]["formatted"]) == (
            ada.username,
            True,
            "Ada Lovelace",
        )

    def test_it_stands_in_the_trail_with_its_token(self, directory: Directory) -> None:
        ada = directory.person()
        entry = AuditEntry.objects.get(content_type__model="user", object_id=ada.pk)
        assert (entry.actor.username, entry.via) == ("system:scim", "scim")
        assert "okta" in entry.reason
        assert directory.token.start in entry.reason
        assert directory.secret not in entry.reason
        assert Event.objects.filter(kind="person.made").exists()

    @pytest.mark.parametrize("name", ["ada", "ADA", "Ada@Corp.Example"])
    def test_a_name_or_address_that_somebody_has(self, directory: Directory, name: str) -> None:
        directory.person("ada")
        before = User.objects.count()
        assert is_error(directory("POST", "Users", {"userName": name}), 409, "uniqueness")
        answer = directory("POST", "Users", {"userName": "eve", "emails": [{"value": "ADA@corp.example"}]})
        assert is_error(answer, 409, "uniqueness")
        assert User.objects.count() == before

    def test_an_external_id_is_one_persons(self, directory: Directory) -> None:
        directory.person("ada", externalId="00u1")
        assert is_error(
            directory("POST", "Users", {"userName": "eve", "externalId": "00u1"}), 409, "uniqueness"
        )

    @pytest.mark.parametrize(
        ("body", "status", "kind"),
        [
            (b"{", 400, "invalidSyntax"), (b"[]", 400, "invalidSyntax"), (b"", 400, "invalidSyntax"), (b"\xff", 400, "invalidSyntax"),
            (b"[" * 100_000, 400, "invalidSyntax"), ({}, 400, "invalidValue"), ({"userName": ""}, 400, "invalidValue"),
            ({"userName": 7}, 400, "invalidValue"), ({"userName": "a\x00b"}, 400, "invalidSyntax"),
            ({"userName": "x" * 151}, 400, "invalidValue"), ({"userName": "system:scim"}, 400, "invalidValue"),
            ({"userName": "a", "active": "perhaps"}, 400, "invalidValue"),
            ({"userName": "a", "emails": [{"value": "none"}]}, 400, "invalidValue"),
            ({"userName": "a", "emails": 7}, 400, "invalidValue"),
            (b'{"userName": "' + b"x" * reading.LARGEST + b'"}', 413, ""),
        ],
        ids=lambda value: str(value)[:24],
    )  # fmt: skip
    def test_bad_input_says_what_and_changes_nothing(
        self, directory: Directory, body: Any, status: int, kind: str
    ) -> None:
        before = User.objects.count()
        assert is_error(directory("POST", "Users", body), status, kind)
        assert User.objects.count() == before


class TestFinding:
    def found(self, directory: Directory, text: str) -> list[str]:
        answer = Client().get(
            "/scim/v2/Users", {"filter": text}, headers={"Authorization": f"Bearer {directory.secret}"}
        )
        assert answer.status_code == 200, answer.content
        return [one["userName"] for one in answer.json()["Resources"]]

    def test_by_what_directories_ask(self, directory: Directory) -> None:
        ada = directory.person("ada", externalId="X-1")
        directory.person("bob", externalId="x-1b")
        for text in (
            'userName eq "ADA"', 'username EQ "ada"', 'externalId eq "X-1"', 'emails.value eq "ada@corp.example"',
            f'id eq "{ada.pk}"', 'userName eq "ada" and active eq true', '(userName eq "ada")',
            'urn:ietf:params:scim:schemas:core:2.0:User:userName eq "ada"',
            'emails[type eq "work"].value eq "ada@corp.example"',
        ):  # fmt: skip
            assert self.found(directory, text) == ["ada"], text
        assert self.found(directory, 'externalId eq "x-1"') == []  # of its own case
        assert self.found(directory, 'externalId eq ""') == []
        assert self.found(directory, 'userName eq "ada" or userName eq "bob"') == ["ada", "bob"]
        assert self.found(directory, 'userName eq "ada\' OR 1=1 --"') == []

    @pytest.mark.parametrize(
        "text",
        ["userName", "userName co \"a\"", 'password eq "x"', "userName eq", "((((", "x" * 500, 'a[b eq "c"] eq', "🙂", '"']
    )  # fmt: skip
    def test_what_is_not_understood_is_refused(self, directory: Directory, text: str) -> None:
        answer = Client().get(
            "/scim/v2/Users", {"filter": text}, headers={"Authorization": f"Bearer {directory.secret}"}
        )
        assert is_error(answer, 400, "invalidFilter")

    def test_by_pages(self, directory: Directory, django_assert_num_queries: Any) -> None:
        for number in range(5):
            directory.person(f"p{number}")
        directory("GET", "Users")
        for count in (2, 5):
            with django_assert_num_queries(6):
                directory("GET", f"Users?count={count}")
        page = directory("GET", "Users?startIndex=2&count=2").json()
        assert (page["totalResults"], page["startIndex"], page["itemsPerPage"]) == (5, 2, 2)
        assert [one["userName"] for one in page["Resources"]] == ["p1", "p2"]
        assert directory("GET", "Users?count=0").json()["itemsPerPage"] == 0
        assert directory("GET", "Users?startIndex=-3").json()["startIndex"] == 1
        assert directory("GET", "Users?startIndex=99").json()["Resources"] == []
        assert is_error(directory("GET", "Users?count=x"), 400, "invalidValue")


class TestChanging:
    @pytest.mark.parametrize(
        "operation",
        [
            {"op": "Replace", "path": "active", "value": "False"}, {"op": "replace", "value": {"active": False}},
            {"op": "Replace", "value": {"active": "false"}}, {"op": "add", "path": "active", "value": False},
        ],
        ids=str,
    )  # fmt: skip
    def test_okta_and_entra_say_that_somebody_left(self, directory: Directory, operation: Any) -> None:
        ada = directory.person()
        answer = directory.patch(f"Users/{ada.pk}", operation)
        assert (answer.status_code, answer.json()["active"]) == (200, False)
        ada.refresh_from_db()
        assert not ada.is_active

    def test_names_and_addresses(self, directory: Directory) -> None:
        ada = directory.person()
        answer = directory.patch(
            f"Users/{ada.pk}",
            {"op": "Add", "path": "name.givenName", "value": "Ada"},
            {"op": "replace", "path": 'emails[type eq "work"].value', "value": "countess@corp.example"},
            {"op": "replace", "path": 'emails[type eq "home"].value', "value": "home@x.example"},
            {"op": "replace", "path": "title", "value": "Countess"},
            {
                "op": "add",
                "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
                "value": "E",
            },
            {"op": "replace", "value": {"name.familyName": "Lovelace", "externalId": "00u1"}},
        )
        assert answer.status_code == 200, answer.content
        ada.refresh_from_db()
        assert (str(ada), ada.email, ada.external_id) == ("Ada Lovelace", "countess@corp.example", "00u1")
        directory.patch(f"Users/{ada.pk}", {"op": "remove", "path": "name.familyName"})
        ada.refresh_from_db()
        assert ada.last_name == ""

    def test_put_sets_what_it_says(self, directory: Directory) -> None:
        ada = directory.person()
        body = {"userName": "ada.l", "name": {"givenName": "A"}, "active": True}
        assert directory("PUT", f"Users/{ada.pk}", body).json()["userName"] == "ada.l"
        assert is_error(directory("PUT", f"Users/{ada.pk}", {"active": True}), 400, "invalidValue")

    @pytest.mark.parametrize(
        ("operations", "kind"),
        [
            ([], "invalidSyntax"), ("x", "invalidSyntax"), ([7], "invalidSyntax"), ([{"op": "drop"}], "invalidSyntax"),
            ([{"op": "remove"}], "noTarget"), ([{"op": "replace", "path": "shoeSize", "value": 1}], "invalidPath"),
            ([{"op": "replace", "path": "emails[", "value": 1}], "invalidPath"),
            ([{"op": "replace", "path": "a eq", "value": 1}], "invalidPath"),
            ([{"op": "replace", "value": "x"}], "invalidSyntax"),
            ([{"op": "replace", "path": "userName", "value": ""}], "invalidValue"),
            ([{"op": "replace", "path": "active", "value": 3}], "invalidValue"),
            ([{"op": "replace", "path": "name.givenName", "value": "x"}, {"op": "replace", "path": "no", "value": 1}], "invalidPath"),
        ],
        ids=str,
    )  # fmt: skip
    def test_a_bad_patch_changes_nothing_at_all(
        self, directory: Directory, operations: Any, kind: str
    ) -> None:
        ada = directory.person()
        before = AuditEntry.objects.count()
        answer = directory("PATCH", f"Users/{ada.pk}", {"Operations": operations})
        assert is_error(answer, 400, kind)
        assert AuditEntry.objects.count() == before

    def test_the_same_again_writes_nothing(self, directory: Directory) -> None:
        ada = directory.person()
        before = AuditEntry.objects.count()
        directory.patch(f"Users/{ada.pk}", {"op": "replace", "value": {"active": True, "userName": "ada"}})
        assert AuditEntry.objects.count() == before


class TestItGainsNothing:
    """Whoever holds the token cannot become, or shut out, who may do more than it was allowed to give."""

    @pytest.mark.parametrize("who", ["superuser", "emergency", "system", "owner"])
    def test_whom_it_does_not_touch(self, directory: Directory, who: str) -> None:
        person = {
            "superuser": lambda: factories.make_user("root", superuser=True),
            "emergency": lambda: factories.make_user("glass", is_emergency=True),
            "system": lambda: User.objects.get(username="system:command"),
            "owner": lambda: directory.owner,
        }[who]()
        names = [one["userName"] for one in directory("GET", "Users").json()["Resources"]]
        assert person.username not in names
        assert is_error(directory("GET", f"Users/{person.pk}"), 404)
        assert is_error(
            directory.patch(f"Users/{person.pk}", {"op": "replace", "value": {"active": False}}), 404
        )
        assert is_error(directory("DELETE", f"Users/{person.pk}"), 404)
        answer = directory("POST", "Groups", {"displayName": "x", "members": [{"value": str(person.pk)}]})
        assert is_error(answer, 400, "invalidValue")
        person.refresh_from_db()
        assert person.is_active

    @pytest.mark.parametrize(
        "value",
        [{"emails": [{"value": "eve@x.example"}]}, {"userName": "eve"}, {"externalId": "eve"}],
        ids=str,
    )
    def test_who_may_more_keeps_their_name_and_address_but_leaves_all_the_same(
        self, directory: Directory, value: Any
    ) -> None:
        boss = admin("boss")
        answer = directory.patch(f"Users/{boss.pk}", {"op": "replace", "value": value})
        assert is_error(answer, 403)
        boss.refresh_from_db()
        assert (boss.email, boss.external_id) == ("boss@example.com", "")
        assert directory("DELETE", f"Users/{boss.pk}").status_code == 204

    def test_somebody_still_manages_access(self) -> None:
        directory = Directory(admin("one"))
        boss = admin("boss")
        with factories.as_system():  # its owner no longer manages, and boss is the last
            role = factories.make_role("provisioner", ["view", "export", "read_logs", "provision"])
        factories.grant(directory.owner, "provisioner")
        from apps.access.services import take_grant

        take_grant(directory.owner.grants.exclude(role=role).get(), actor=boss, reason="less")
        answer = directory("DELETE", f"Users/{boss.pk}")
        assert is_error(answer, 403)
        boss.refresh_from_db()
        assert boss.is_active

    @pytest.mark.parametrize("gives", [("manage_access",), ("provision",), ("see_cost", "manage_access")])
    def test_no_token_gives_what_opens_the_door(self, gives: tuple[str, ...]) -> None:
        with pytest.raises(Exception, match="No directory gives these"):
            Directory(gives=gives)

    def test_only_a_provisioning_token_gives(self) -> None:
        with pytest.raises(Exception, match="fills groups"):
            tokens.issue(owner=admin(), name="x", permissions=["view"], days=1, may_give=["view"])
        assert not ApiToken.objects.exists()
