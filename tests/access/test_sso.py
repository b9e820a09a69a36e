"""Signing in by OpenID Connect, against a real provider that runs here, on a port of its own."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import oidc_provider_mock
import pytest
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.test import Client

from apps.access import pre_approvals, roles, sso
from apps.access.granting import NotGiven
from apps.access.models import SsoGroup, User
from apps.access.scoping import holds, scopes_of
from apps.access.services import give_grant, scope_for, system_actor
from apps.audit.models import AuditEntry
from apps.core.models import Event
from tests import factories

pytestmark = pytest.mark.django_db
LOGIN = "/accounts/oidc/company/login/"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with oidc_provider_mock.run_server_in_thread() as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture
def provider(address: str, settings: Any) -> str:
    providers = copy.deepcopy(settings.SOCIALACCOUNT_PROVIDERS)
    providers["openid_connect"]["APPS"] = [
        {
            "provider_id": "company", "name": "Example", "client_id": "daytwo", "secret": "canary-client-secret",
            "settings": {"server_url": address},
        }
    ]  # fmt: skip
    settings.SOCIALACCOUNT_PROVIDERS = providers
    settings.OIDC_SERVER_URL = address
    return address


def group_with(role: str, name: str = "") -> Group:
    with factories.as_system():
        group = Group.objects.create(name=name or f"the {role}s")
        give_grant(
            to=group, role=factories.make_role(role), scope=scope_for("everything"),
            actor=system_actor("command"), reason="its duty",
        )  # fmt: skip
    return group


@pytest.fixture
def operators(provider: str) -> Group:
    group = group_with("operator")
    with factories.as_system():
        SsoGroup.objects.create(claim="fleet-ops", group=group)
    return group


def told(
    provider: str, sub: str, groups: Any, *, email: str = "ada@example.com", verified: bool = True
) -> None:
    """What the provider says of somebody from now on."""
    claims = {
        "email": email,
        "email_verified": verified,
        "preferred_username": sub,
        "given_name": "Ada",
        "groups": groups,
    }
    httpx.put(f"{provider}/users/{sub}", json=claims).raise_for_status()


def sign_in(sub: str = "ada", client: Client | None = None, **query: str) -> tuple[Client, Any]:
    """The whole way: to the provider, through its page, back with the code. Gives the last answer of ours."""
    client = client or Client()
    there = client.post(LOGIN, query)
    assert there.status_code == 302, there.content[:500]
    back = httpx.post(there.url, data={"sub": sub})
    assert back.status_code == 302, back.text[:500]
    url = urlsplit(back.headers["Location"])
    return client, client.get(f"{url.path}?{url.query}")


def is_in(client: Client) -> bool:
    return client.get("/access/mine/").status_code == 200


class TestComingIn:
    def test_the_first_time_makes_the_person_in_the_groups_that_are_mapped(
        self, provider: str, operators: Group
    ) -> None:
        told(provider, "ada", ["fleet-ops", "book club"])
        client, answer = sign_in()
        assert answer.url == "/"
        assert is_in(client)
        ada = User.objects.get(username="ada")
        assert (ada.email, ada.has_usable_password(), ada.is_superuser) == ("ada@example.com", False, False)
        assert list(ada.groups.all()) == [operators]
        assert scopes_of(ada, "deploy").everything
        joined = AuditEntry.objects.filter(
            content_type__model="user", object_id=ada.pk, changes__has_key="groups"
        ).get()
        assert (joined.actor.username, joined.reason) == (
            "system:sso",
            "as the identity provider says at sign-in",
        )
        assert AuditEntry.objects.filter(event="sign_in", actor=ada).exists()

    def test_leaving_the_group_there_takes_it_here_at_the_next_sign_in(
        self, provider: str, operators: Group
    ) -> None:
        told(provider, "ada", ["fleet-ops"])
        sign_in()
        told(provider, "ada", [])
        client, _ = sign_in()
        ada = User.objects.get(username="ada")
        assert is_in(client)
        assert not ada.groups.exists()
        assert not holds(ada, "deploy")
        assert Event.objects.filter(kind="group.left").exists()

    def test_moving_there_moves_here(self, provider: str, operators: Group) -> None:
        viewers = group_with("viewer")
        with factories.as_system():
            SsoGroup.objects.create(claim="readers", group=viewers)
        told(provider, "ada", ["fleet-ops"])
        sign_in()
        told(provider, "ada", ["readers"])
        sign_in()
        assert list(User.objects.get(username="ada").groups.all()) == [viewers]

    def test_groups_that_are_not_mapped_stay_as_they_are_set_here(
        self, provider: str, operators: Group
    ) -> None:
        told(provider, "ada", ["fleet-ops"])
        sign_in()
        ada, local = User.objects.get(username="ada"), group_with("viewer")
        with factories.as_system():
            ada.groups.add(local)
        told(provider, "ada", "not-a-list")
        sign_in()
        assert list(ada.groups.all()) == [local]

    @pytest.mark.parametrize(
        "groups", [[], ["others"], None, 7, {"fleet-ops": 1}, [["fleet-ops"]], "fleet-op"], ids=str
    )
    def test_who_is_in_no_mapped_group_does_not_come_in(
        self, provider: str, operators: Group, groups: Any
    ) -> None:
        told(provider, "ada", groups)
        client, answer = sign_in()
        assert answer.url == "/accounts/login/"
        assert not is_in(client)
        assert not User.objects.filter(username="ada").exists()

    def test_who_has_left_here_does_not_come_in(self, provider: str, operators: Group) -> None:
        told(provider, "ada", ["fleet-ops"])
        sign_in()
        with factories.as_system():
            User.objects.filter(username="ada").update(is_active=False)
        assert not is_in(sign_in()[0])


class TestTakingOver:
    """Nobody becomes somebody else by what they may choose at the provider."""

    @pytest.mark.parametrize("verified", [True, False])
    def test_anothers_address_is_refused(self, provider: str, operators: Group, verified: bool) -> None:
        boss = factories.make_user("boss", email="boss@example.com")
        told(provider, "eve", ["fleet-ops"], email="BOSS@example.com", verified=verified)
        client, answer = sign_in("eve")
        assert answer.url == "/accounts/login/"
        assert not is_in(client)
        assert not SocialAccount.objects.filter(user=boss).exists()

    def test_with_linking_by_address_only_a_verified_one_and_never_a_superuser(
        self, provider: str, operators: Group, settings: Any
    ) -> None:
        settings.SOCIALACCOUNT_EMAIL_AUTHENTICATION = True
        factories.make_user("bob", email="bob@example.com")
        factories.make_user("root", email="root@example.com", superuser=True)
        told(provider, "eve", ["fleet-ops"], email="bob@example.com", verified=False)
        assert not is_in(sign_in("eve")[0])
        told(provider, "eve", ["fleet-ops"], email="root@example.com")
        assert not is_in(sign_in("eve")[0])
        told(provider, "bob", ["fleet-ops"], email="bob@example.com")
        assert is_in(sign_in("bob")[0])
        assert SocialAccount.objects.get().user.username == "bob"
        assert list(User.objects.get(username="bob").groups.all()) == [operators]

    def test_anothers_name_is_not_theirs(self, provider: str, operators: Group) -> None:
        boss = factories.make_user("boss", email="boss@example.com")
        told(provider, "boss", ["fleet-ops"], email="eve@example.com")
        sign_in("boss")
        assert not SocialAccount.objects.filter(user=boss).exists()
        assert SocialAccount.objects.get().user.username != "boss"

    def test_a_code_without_its_own_state_is_nothing(self, provider: str, operators: Group) -> None:
        told(provider, "ada", ["fleet-ops"])
        there = Client().post(LOGIN)
        url = urlsplit(httpx.post(there.url, data={"sub": "ada"}).headers["Location"])
        victim = Client()
        victim.get(f"{url.path}?{url.query}")
        assert not is_in(victim)

    def test_it_leads_nowhere_else(self, provider: str, operators: Group) -> None:
        told(provider, "ada", ["fleet-ops"])
        assert sign_in(next="https://evil.example.com/")[1].url == "/"

    def test_the_last_who_manages_access_is_not_taken_out(self, provider: str) -> None:
        admins = group_with("admin")
        with factories.as_system():
            SsoGroup.objects.create(claim="admins", group=admins)
        told(provider, "ada", ["admins"])
        sign_in()
        told(provider, "ada", [])
        client, answer = sign_in()
        assert answer.url == "/accounts/login/"
        assert User.objects.get(username="ada").groups.exists()
        assert not is_in(client)


class TestProvisioned:
    """Whom the directory (SCIM) made comes in by the id that it gave them, and as nobody else."""

    def test_the_first_sign_in_meets_them(self, provider: str, operators: Group) -> None:
        ada = factories.make_user("ada.l", email="ada@example.com", external_id="00u1")
        told(provider, "00u1", [])
        client, answer = sign_in("00u1")
        assert answer.url == "/"
        assert is_in(client)
        assert SocialAccount.objects.get().user == ada
        assert (
            AuditEntry.objects.filter(content_type__model="socialaccount").get().actor.username
            == "system:sso"
        )

    @pytest.mark.parametrize(
        "fields", [{"is_superuser": True}, {"is_emergency": True}, {"is_active": False}], ids=str
    )
    def test_never_an_account_that_no_directory_touches(
        self, provider: str, operators: Group, fields: dict[str, bool]
    ) -> None:
        superuser = fields.pop("is_superuser", False)
        kept = factories.make_user(
            "root", email="root@example.com", external_id="00u1", superuser=superuser, **fields
        )
        told(provider, "00u1", ["fleet-ops"], email="eve@example.com")
        sign_in("00u1")
        assert not SocialAccount.objects.filter(user=kept).exists()


class TestThePage:
    def test_it_is_offered_where_there_is_one(self, provider: str) -> None:
        assert "Sign in with Example" in Client().get("/accounts/login/").content.decode()

    def test_a_form_may_lead_to_it(self) -> None:
        from portal.settings import origin_of

        assert origin_of("https://id.example.com:8443/realms/x?y") == "https://id.example.com:8443"

    def test_no_client_secret_is_shown_or_recorded(self, provider: str, operators: Group) -> None:
        told(provider, "ada", ["fleet-ops"])
        client, _ = sign_in()
        shown = (
            client.get("/access/mine/").content.decode() + Client().get("/accounts/login/").content.decode()
        )
        written = str(list(AuditEntry.objects.values_list("changes", "reason", "additional_data")))
        assert "canary-client-secret" not in shown + written


class TestMapping:
    def manager(self, *permissions: str) -> User:
        user = factories.make_user()
        factories.make_role("manager", ["view", "manage_access", *permissions])
        factories.grant(user, "manager")
        return user

    def test_nobody_maps_a_group_that_may_do_more_than_they(self, db: None) -> None:
        with pytest.raises(PermissionDenied, match="may not do there yourself"):
            sso.map_group(claim="x", group=group_with("operator"), actor=self.manager(), reason="x y z")
        assert not SsoGroup.objects.exists()

    def test_nor_one_that_gets_more_by_a_standing_yes(self, db: None) -> None:
        with factories.as_system():
            group = Group.objects.create(name="on call")
        root, manager = factories.make_user(superuser=True), self.manager()
        pre_approvals.make(
            actor=root, group=group, role=factories.make_role("operator"), kind="everything", name="", max_minutes=60,
            reason="on call",
        )  # fmt: skip
        with pytest.raises(PermissionDenied):
            sso.map_group(claim="x", group=group, actor=manager, reason="x y z")
        with pytest.raises(PermissionDenied):
            roles.put_in_group(group, factories.make_user(), actor=manager, reason="x y z")

    def test_it_is_told_and_ended(self, db: None) -> None:
        manager, group = self.manager(), group_with("viewer")
        row = sso.map_group(claim=" readers ", group=group, actor=manager, reason="ticket 7")
        entry = AuditEntry.objects.latest("pk")
        assert (row.claim, entry.event, entry.actor, entry.reason) == (
            "readers",
            "access",
            manager,
            "ticket 7",
        )
        with pytest.raises(NotGiven, match="already"):
            sso.map_group(claim="readers", group=group, actor=manager, reason="ticket 7")
        with pytest.raises(NotGiven, match="why"):
            sso.unmap_group(row, actor=manager, reason="")
        sso.unmap_group(row, actor=manager, reason="not any more")
        assert not SsoGroup.objects.exists()

    def test_only_who_manages_access_on_everything(self, db: None) -> None:
        somebody = factories.make_user()
        factories.grant(somebody, "admin", "account", factories.make_account())
        with pytest.raises(PermissionDenied):
            sso.map_group(claim="x", group=group_with("viewer"), actor=somebody, reason="x y z")
