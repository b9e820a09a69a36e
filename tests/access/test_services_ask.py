"""The services of access ask by themselves: a caller that forgets to narrow changes nothing of another's."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied

from apps.access import granting, pre_approvals, tokens
from apps.access.models import ApiToken, Grant, PreApproval, User
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def manager() -> User:
    """Manages access on one account."""
    user = factories.make_user("manager")
    factories.make_role("manager", ["view", "manage_access"])
    factories.grant(user, "manager", "account", factories.make_account("here"))
    return user


def test_who_does_not_manage_access_there_takes_no_grant(manager: User) -> None:
    there = factories.grant(factories.make_user("ada"), "viewer", "account", factories.make_account("there"))
    with pytest.raises(PermissionDenied, match="do not manage access"):
        granting.take(actor=manager, grant=there, reason="not mine")
    with pytest.raises(PermissionDenied):
        granting.take(actor=factories.make_user("nobody"), grant=there, reason="not mine")
    assert Grant.objects.filter(pk=there.pk).exists()


def test_nor_ends_a_standing_pre_approval(manager: User) -> None:
    boss = factories.make_user("boss")
    factories.grant(boss, "admin")
    with factories.as_system():
        group = Group.objects.create(name="on call")
    standing = pre_approvals.make(
        actor=boss, group=group, role=factories.make_role("viewer"), kind="everything", name="", max_minutes=60,
        reason="on call",
    )  # fmt: skip
    with pytest.raises(PermissionDenied, match="do not manage access"):
        pre_approvals.end(standing, actor=manager, reason="not mine")
    assert PreApproval.objects.filter(pk=standing.pk).exists()
    pre_approvals.end(standing, actor=boss, reason="no longer")
    assert not PreApproval.objects.exists()


def test_nor_revokes_anothers_token(manager: User) -> None:
    ada = factories.make_user("ada")
    factories.grant(ada, "viewer")
    token, _ = tokens.issue(owner=ada, name="ci", permissions=["view"], days=7)
    with pytest.raises(PermissionDenied, match="ada's token"):
        tokens.revoke(token, actor=manager)
    assert ApiToken.objects.get(pk=token.pk).revoked_at is None
    tokens.revoke(token, actor=ada)
    assert ApiToken.objects.get(pk=token.pk).revoked_at is not None
