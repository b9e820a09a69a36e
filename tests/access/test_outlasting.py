"""What is given ends no later than what it is given by: access for an hour makes no access for good."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from apps.access import asking, explaining, granting, pre_approvals, roles
from apps.access.choices import RequestState
from apps.access.models import AccessRequest, Grant, Role, User
from apps.access.services import give_grant, scope_for, system_actor
from tests import factories
from tests.access.scim import Directory

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)


@pytest.fixture
def passing() -> User:
    """Manages access on everything, for an hour."""
    chief = factories.make_user("chief")
    factories.grant(chief, "admin")
    user = factories.make_user("passing")
    factories.grant(user, "admin", until=timezone.now() + HOUR)
    return user


@pytest.fixture
def ada() -> User:
    return factories.make_user("ada")


def give(by: User, to: Any, **more: Any) -> Grant:
    role = factories.make_role("viewer")
    return granting.give(
        actor=by, person=to, role=role, kind="everything", name="", reason="joins us", **more
    )


@pytest.mark.parametrize("until", [None, 2 * HOUR])
def test_a_grant_outlasts_nobody(passing: User, ada: User, until: timedelta | None) -> None:
    with pytest.raises(PermissionDenied, match="no longer"):
        give(passing, ada, until=until and timezone.now() + until)
    assert not Grant.objects.filter(user=ada).exists()


def test_within_it_may_be_given(passing: User, ada: User) -> None:
    assert give(passing, ada, until=timezone.now() + HOUR / 2).user == ada


def test_who_holds_it_for_good_by_another_way_gives_for_good(passing: User, ada: User) -> None:
    with factories.as_system():
        group = Group.objects.create(name="managers")
        passing.groups.add(group)
        give_grant(
            to=group, role=factories.make_role("admin"), scope=scope_for("everything"), actor=system_actor("command"), reason="lasts"
        )  # fmt: skip
    assert give(User.objects.get(pk=passing.pk), ada).until is None


def test_what_the_role_allows_has_to_last_too(ada: User) -> None:
    """Managing access for good, but restarting for an hour."""
    lead = factories.make_user("lead")
    factories.make_role("keeper", ["view", "manage_access"])
    factories.make_role("restarter", ["view", "restart"])
    factories.grant(lead, "keeper")
    factories.grant(lead, "restarter", until=timezone.now() + HOUR)
    with pytest.raises(PermissionDenied, match="no longer"):
        granting.give(
            actor=lead, person=ada, role=Role.objects.get(name="restarter"), kind="everything", name="", reason="helps out"
        )  # fmt: skip
    assert give(lead, ada).until is None


def test_no_membership_no_role_and_no_standing_yes(passing: User, ada: User) -> None:
    viewer = factories.make_role("viewer")
    with factories.as_system():
        group = Group.objects.create(name="watchers")
        give_grant(
            to=group,
            role=viewer,
            scope=scope_for("everything"),
            actor=system_actor("command"),
            reason="they watch",
        )
    with pytest.raises(PermissionDenied, match="no longer"):
        roles.put_in_group(group, ada, actor=passing, reason="helps out")
    with pytest.raises(PermissionDenied, match="no longer"):
        roles.save_role(
            viewer, name="viewer", description="", permissions=["view", "restart"], actor=passing, reason="needed"
        )  # fmt: skip
    with pytest.raises(PermissionDenied, match="no longer"):
        pre_approvals.make(
            actor=passing,
            group=group,
            role=viewer,
            kind="everything",
            name="",
            max_minutes=60,
            reason="on call",
        )
    assert not ada.groups.exists() and "restart" not in Role.objects.get(name="viewer").permissions


def test_a_superuser_and_who_holds_nothing_have_no_end(passing: User, ada: User) -> None:
    assert explaining.ends(ada, ["view"], None) is None
    assert explaining.ends(passing, ["view"], None) is not None
    passing.is_superuser = True
    assert explaining.ends(passing, ["view"], None) is None


def test_nor_does_what_is_asked_for_and_given_by_a_yes(passing: User, ada: User) -> None:
    """Or two who pass would say yes to each other for ever."""
    viewer = factories.make_role("viewer")

    def asked(minutes: int) -> AccessRequest:
        return asking.ask(
            person=ada, role=viewer, kind="everything", name="", minutes=minutes, reason="on call tonight"
        )

    long = asked(8 * 60)
    with pytest.raises(PermissionDenied, match="no longer"):
        asking.decide(long, actor=passing, yes=True, words="")
    assert not Grant.objects.filter(user=ada).exists()
    asking.decide(long, actor=passing, yes=False, words="too long for me to give")
    short = asking.decide(asked(30), actor=passing, yes=True, words="")
    more = asking.extend(short, person=ada, minutes=40, reason="it goes on")
    with pytest.raises(PermissionDenied, match="no longer"):
        asking.decide(more, actor=User.objects.get(pk=passing.pk), yes=True, words="")
    chief = User.objects.get(username="chief")
    assert asking.decide(more, actor=chief, yes=True, words="").state == RequestState.GRANTED


def test_a_directory_of_who_passes_names_nobody_anew_who_stays(passing: User) -> None:
    """To name somebody anew is to be them, and they are there when the hour is over."""
    directory = Directory(passing)
    stays, leaves = directory.person("stays"), directory.person("leaves")
    factories.grant(stays, "viewer")
    factories.grant(leaves, "viewer", until=timezone.now() + HOUR / 2)
    for person, status in ((stays, 403), (leaves, 200)):
        mine = {"op": "replace", "path": 'emails[type eq "work"].value', "value": f"{person}@mine.example"}
        assert directory.patch(f"Users/{person.pk}", mine).status_code == status, person
    ends = {"op": "replace", "path": "active", "value": False}
    assert directory.patch(f"Users/{stays.pk}", ends).status_code == 200
