"""A directory's side of SCIM, for tests: a token, and calls with it."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth.models import Group
from django.test import Client

from apps.access import tokens
from apps.access.models import SsoGroup, User
from apps.access.services import give_grant, scope_for, system_actor
from tests import factories

PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
GIVES = ("view", "export", "read_logs")


class Directory:
    """Calls with one token; what is sent is JSON unless it is bytes."""

    def __init__(self, owner: User | None = None, *, gives: tuple[str, ...] = GIVES) -> None:
        self.owner = owner or admin()
        self.token, self.secret = tokens.issue(
            owner=self.owner, name="okta", permissions=["provision"], days=30, may_give=gives
        )

    def __call__(self, method: str, path: str, body: Any = None, *, secret: str | None = None) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body) if body is not None else ""
        return Client(enforce_csrf_checks=True).generic(
            method, f"/scim/v2/{path}", data, content_type="application/scim+json",
            headers={"Authorization": f"Bearer {self.secret if secret is None else secret}"},
        )  # fmt: skip

    def person(self, name: str = "ada", **more: Any) -> User:
        """Make one."""
        answer = self(
            "POST", "Users", {"userName": name, "emails": [{"value": f"{name}@corp.example"}], **more}
        )
        assert answer.status_code == 201, answer.content
        return User.objects.get(pk=answer.json()["id"])

    def group(self, name: str, *people: User, **more: Any) -> str:
        """Push one; gives its id."""
        members = [{"value": str(one.pk)} for one in people]
        answer = self("POST", "Groups", {"displayName": name, "members": members, **more})
        assert answer.status_code == 201, answer.content
        return str(answer.json()["id"])

    def patch(self, path: str, *operations: dict[str, Any]) -> Any:
        return self("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)})


def admin(name: str = "") -> User:
    user = factories.make_user(name)
    factories.grant(user, "admin")
    return user


def mapped(claim: str, role: str = "support") -> Group:
    """A group of ours with a role on everything, which `claim` means."""
    with factories.as_system():
        group = Group.objects.create(name=f"our {claim}")
        give_grant(
            to=group, role=factories.make_role(role), scope=scope_for("everything"), actor=system_actor("command"),
            reason="its duty",
        )  # fmt: skip
        SsoGroup.objects.create(claim=claim, group=group)
    return group
