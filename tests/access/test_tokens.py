"""API tokens: within the owner's rights and the token's, until a time; and the API behind them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.access import granting, tokens
from apps.access.models import ApiToken, Grant, User
from apps.audit.models import AuditEntry
from apps.operations import services as operations
from apps.operations.models import Operation
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "nudge", lambda count=1: None)


@pytest.fixture
def account() -> Any:
    return factories.make_account("eu")


@pytest.fixture
def instance(account: Any) -> Any:
    factories.make_instance("elsewhere")
    return factories.make_instance("here", cell=factories.make_cell(account=account))


@pytest.fixture
def olga(account: Any) -> User:
    user = factories.make_user("olga")
    factories.grant(user, "operator", "account", account)
    return user


def issue(owner: User, *permissions: str, days: int = 7) -> str:
    return tokens.issue(owner=owner, name="ci", permissions=permissions or ("view",), days=days)[1]


def get(secret: str, path: str = "instances", **query: Any) -> Any:
    return Client().get(f"/api/v1/{path}", query, headers={"Authorization": f"Bearer {secret}"})


def post(secret: str, body: Any, key: str = "k1") -> Any:
    headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": key}
    return Client(enforce_csrf_checks=True).post(
        "/api/v1/operations", json.dumps(body), content_type="application/json", headers=headers
    )


class TestTokens:
    def test_only_a_hash_is_kept_and_it_is_shown_once(self, olga: User) -> None:
        client = Client()
        client.force_login(olga, backend="django.contrib.auth.backends.ModelBackend")
        page = client.post(reverse("access:new_token"), {"name": "ci", "permissions": ["view"], "days": 7})
        secret = page.context["secret"]
        token = ApiToken.objects.get()
        assert len(secret) >= 43
        assert secret not in str(vars(token))
        assert secret not in client.get(reverse("access:tokens")).content.decode()
        assert token.digest not in client.get(reverse("access:tokens")).content.decode()
        for entry in AuditEntry.objects.all():
            assert secret not in f"{entry.changes} {entry.reason}"
            assert token.digest not in str(entry.changes)

    def test_no_more_than_the_owner_holds(self, olga: User) -> None:
        with pytest.raises(granting.NotGiven, match="Give and take access"):
            issue(olga, "manage_access")

    def test_within_the_owners_scope(self, olga: User, instance: Any) -> None:
        assert [one["name"] for one in get(issue(olga)).json()["results"]] == ["here"]

    def test_the_owners_rights_end_the_tokens_too(self, olga: User, instance: Any) -> None:
        secret = issue(olga)
        granting.take(
            actor=factories.make_user("r", superuser=True), grant=Grant.objects.get(user=olga), reason="left"
        )
        assert get(secret).status_code == 403

    @pytest.mark.parametrize("end", ["expires", "revoked", "inactive"])
    def test_ended_it_is_nothing(self, olga: User, end: str) -> None:
        secret = issue(olga)
        assert get(secret).status_code == 200
        if end == "revoked":
            tokens.revoke(ApiToken.objects.get(), actor=olga)
        if end == "inactive":
            with factories.as_system():
                User.objects.filter(pk=olga.pk).update(is_active=False)
        with time_machine.travel(timezone.now() + timedelta(days=8 if end == "expires" else 0)):
            assert get(secret).status_code == 401

    def test_a_superusers_token_is_no_superuser(self, instance: Any) -> None:
        root = factories.make_user("root", superuser=True)
        answer = post(issue(root, "view"), {"kind": "restart", "target_id": instance.pk, "reason": "x y z"})
        assert answer.status_code == 403

    def test_last_used(self, olga: User) -> None:
        secret = issue(olga)
        get(secret)
        assert ApiToken.objects.get().last_used_at is not None

    @pytest.mark.parametrize("header", ["", "Bearer", "Bearer dt_wrong", "Basic abc", "Bearer " + "x" * 999])
    def test_without_a_token_nothing(self, header: str) -> None:
        answer = Client().get("/api/v1/instances", headers={"Authorization": header})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"

    def test_a_session_says_nothing(self, olga: User) -> None:
        client = Client()
        client.force_login(olga, backend="django.contrib.auth.backends.ModelBackend")
        assert client.get("/api/v1/instances").status_code == 401


class TestSubmitting:
    def ask(self, instance: Any) -> dict[str, Any]:
        return {"kind": "restart", "target_id": instance.pk, "reason": "from the pipeline"}

    def test_it_takes_the_one_road_and_once(self, olga: User, instance: Any) -> None:
        secret = issue(olga, "view", "restart")
        first, again = (post(secret, self.ask(instance)) for _ in range(2))
        assert (first.status_code, again.json()["id"]) == (201, first.json()["id"])
        operation = Operation.objects.get()
        assert (operation.actor, operation.via) == (olga, "api")
        assert AuditEntry.objects.filter(content_type__model="operation").get().via == "api"

    def test_out_of_scope_is_404_a_lacking_permission_403(self, olga: User, instance: Any) -> None:
        elsewhere = factories.make_instance()
        secret = issue(olga, "view", "restart")
        assert post(secret, {**self.ask(instance), "target_id": elsewhere.pk}).status_code == 404
        assert post(issue(olga, "view"), self.ask(instance)).status_code == 403
        assert not Operation.objects.exists()

    def test_another_persons_key_is_another_key(self, olga: User, instance: Any) -> None:
        root = factories.make_user("root", superuser=True)
        for owner in (olga, root):
            assert post(issue(owner, "view", "restart"), self.ask(instance)).status_code == 201
        assert Operation.objects.count() == 2

    @pytest.mark.parametrize(
        ("change", "status"),
        [
            ({"kind": 7}, 400), ({"target_id": "x"}, 400), ({"target_id": 0}, 400), ({"params": []}, 400),
            ({"kind": "explode"}, 422), ({"reason": ""}, 422), ({"target_id": 2**62}, 404),
        ],
        ids=str,
    )  # fmt: skip
    def test_bad_input_says_what(self, olga: User, instance: Any, change: Any, status: int) -> None:
        answer = post(issue(olga, "view", "restart"), {**self.ask(instance), **change})
        assert answer.status_code == status
        assert answer.json()["error"]
        assert not Operation.objects.exists()

    def test_no_json_and_no_key(self, olga: User, instance: Any) -> None:
        secret = issue(olga, "view", "restart")
        assert post(secret, "text").status_code == 400
        assert post(secret, self.ask(instance), key="").status_code == 400


def test_lists_page_and_cost_the_same(olga: User, account: Any, django_assert_num_queries: Any) -> None:
    cell = factories.make_cell(account=account)
    for number in range(5):
        factories.make_instance(f"i-{number}", cell=cell)
    secret = issue(olga)
    get(secret)
    with django_assert_num_queries(4):
        page = get(secret, limit=2).json()
    assert [one["name"] for one in page["results"]] == ["i-0", "i-1"]
    rest = get(secret, limit=200, after=page["next_after"]).json()
    assert (len(rest["results"]), rest["next_after"]) == (3, None)
    assert get(secret, limit="x").status_code == 400
    assert get(secret, "tenants").json() == {"results": [], "next_after": None}
