"""Two persons are two: a second account of one's own, or a permission that one gave, approves nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from allauth.account.models import EmailAddress
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.access import asking, breaking, granting, roles, sso
from apps.access.models import Role, User
from apps.operations import services
from apps.operations.models import ApprovalRule, Operation
from tests import factories
from tests.access.scim import Directory, mapped

pytestmark = pytest.mark.django_db
BACKEND = "django.contrib.auth.backends.ModelBackend"


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "nudge", lambda count=1: None)


@pytest.fixture
def eve() -> User:
    """Who holds everything, and would like to be two."""
    user = factories.make_user("eve")
    factories.grant(user, "admin")
    return user


@pytest.fixture
def bob() -> User:
    """An honest colleague who may approve, by nobody's hand here."""
    user = factories.make_user("bob")
    factories.grant(user, "admin")
    return user


def in_admin(actor: User, path: str, data: dict[str, Any]) -> Any:
    client = Client()
    client.force_login(actor, backend=BACKEND)
    answer = client.post(path, {"fix_reason": "asked for in ticket 7", **data})
    assert answer.status_code == 302, answer.content.decode()[:3000]
    return answer


def made_by(actor: User, name: str = "eve2") -> User:
    """An account made in the admin, which may approve by a grant of its maker's."""
    in_admin(
        actor, reverse("admin:access_user_add"),
        {"username": name, "first_name": "", "last_name": "", "email": f"{name}@example.com", "zone": "", "is_active": "on"},
    )  # fmt: skip
    return User.objects.get(username=name)


def let_in(actor: User, person: User, role: str = "admin") -> None:
    granting.give(
        actor=actor, person=person, role=factories.make_role(role), kind="everything", name="", reason="x y z"
    )


def waits(requester: User) -> Operation:
    with factories.as_system():
        ApprovalRule.objects.get_or_create(kind="restart", min_targets=1, note="two people")
    return services.submit(
        kind="restart", target_id=factories.make_instance().pk, actor=requester, reason="for the test",
        idempotency_key=f"k{Operation.objects.count()}",
    )  # fmt: skip


def refused(requester: User, approver: User) -> str:
    operation = waits(User.objects.get(pk=requester.pk))
    assert operation.state == "awaiting_approval"
    with pytest.raises(PermissionDenied) as error:
        services.approve(operation, actor=User.objects.get(pk=approver.pk))
    operation.refresh_from_db()
    assert (operation.state, operation.approved_by) == ("awaiting_approval", None)
    return str(error.value)


def passes(requester: User, approver: User) -> None:
    operation = waits(User.objects.get(pk=requester.pk))
    services.approve(operation, actor=User.objects.get(pk=approver.pk))
    operation.refresh_from_db()
    assert operation.approved_by_id == approver.pk


class TestASecondAccount:
    def test_it_approves_nothing_of_its_makers_nor_its_maker_of_its(self, eve: User, bob: User) -> None:
        second = made_by(eve)
        let_in(bob, second)  # even where somebody else let it in
        assert "eve made the account of eve2" in refused(eve, second)
        assert "eve made the account of eve2" in refused(second, eve)

    def test_nor_do_two_that_the_same_third_made(self, eve: User, bob: User) -> None:
        one, two = made_by(eve, "one"), made_by(eve, "two")
        for each in (one, two):
            let_in(bob, each)
        assert "do not count as two persons" in refused(one, two)

    def test_nor_one_that_a_second_account_made(self, eve: User, bob: User) -> None:
        second = made_by(eve)
        let_in(bob, second)
        third = made_by(second, "eve3")
        let_in(bob, third)
        refused(eve, third)

    def test_an_honest_colleague_approves(self, eve: User, bob: User) -> None:
        made_by(eve)
        passes(eve, bob)
        passes(bob, eve)

    def test_after_the_days_it_is_an_account_like_any(self, eve: User, bob: User, settings: Any) -> None:
        second = made_by(eve)
        let_in(bob, second)
        refused(eve, second)
        with time_machine.travel(timezone.now() + timedelta(days=settings.TWO_PERSON_DAYS, minutes=1)):
            passes(eve, second)

    def test_switched_off(self, eve: User, bob: User, settings: Any) -> None:
        second = made_by(eve)
        settings.TWO_PERSON_DAYS = 0
        let_in(eve, second)
        passes(eve, second)


class TestTakenOver:
    def test_switched_on_again(self, eve: User, bob: User) -> None:
        sleeper = factories.make_user("sleeper", is_active=False)
        fields = {
            "username": sleeper.username,
            "first_name": "",
            "last_name": "",
            "email": sleeper.email,
            "zone": "",
        }
        in_admin(eve, reverse("admin:access_user_change", args=[sleeper.pk]), {**fields, "is_active": "on"})
        let_in(bob, sleeper)
        assert "switched the account of sleeper on again" in refused(eve, sleeper)

    def test_its_address_taken_away(self, eve: User, bob: User) -> None:
        colleague = factories.make_user("colleague")
        factories.grant(colleague, "admin")
        with factories.as_system():
            address = EmailAddress.objects.create(user=colleague, email="c@example.com", verified=True)
        in_admin(eve, reverse("admin:account_emailaddress_delete", args=[address.pk]), {"post": "yes"})
        assert "took a second factor or an address of colleague away" in refused(eve, colleague)

    def test_named_anew_by_a_superuser(self, bob: User) -> None:
        root = factories.make_user("root", superuser=True)
        fields = {
            "username": "bob",
            "first_name": "",
            "last_name": "",
            "email": "root@evil.example",
            "zone": "",
            "external_id": "",
        }
        in_admin(root, reverse("admin:access_user_change", args=[bob.pk]), {**fields, "is_active": "on"})
        assert "changed by what bob signs in" in refused(root, bob)

    def test_made_by_the_token_of_a_directory(self, bob: User) -> None:
        eve = factories.make_user("eve")
        factories.grant(eve, "admin")
        second = Directory(eve).person("eve2")
        let_in(bob, second)
        assert "eve's token okta" in refused(eve, second)


class TestAPermissionThatTheRequesterGave:
    def test_by_a_grant(self, eve: User) -> None:
        pal = factories.make_user("pal")
        let_in(eve, pal)
        assert "what eve did in the last 7 days" in refused(eve, pal)
        passes(pal, eve)  # eve's own permission is nobody's gift

    def test_by_a_second_account_of_theirs(self, eve: User, bob: User) -> None:
        second, pal = made_by(eve), factories.make_user("pal")
        let_in(bob, second)
        let_in(second, pal)
        assert "eve2, which belongs to eve in this," in refused(eve, pal)

    def test_beside_one_that_stands_without_them(self, eve: User) -> None:
        pal = factories.make_user("pal")
        factories.grant(pal, "admin")
        factories.make_role("another", ["view", "approve"])
        let_in(eve, pal, "another")
        passes(eve, pal)

    def test_by_putting_into_a_group(self, eve: User, bob: User) -> None:
        pal = factories.make_user("pal")
        with factories.as_system():
            group = Group.objects.create(name="approvers")
        granting.give(
            actor=bob,
            person=group,
            role=factories.make_role("admin"),
            kind="everything",
            name="",
            reason="x y z",
        )
        roles.put_in_group(group, pal, actor=eve, reason="x y z")
        assert "what eve did" in refused(eve, pal)

    def test_by_mapping_a_group(self, eve: User) -> None:
        pal, group = factories.make_user("pal"), mapped("elsewhere", "admin")
        with factories.as_system():
            pal.groups.add(group)
        sso.map_group(claim="mine", group=group, actor=eve, reason="x y z")
        assert "what eve did" in refused(eve, pal)

    def test_by_changing_the_role(self, eve: User) -> None:
        pal = factories.make_user("pal")
        role: Role = factories.make_role("harmless", ["view"])
        factories.grant(pal, "harmless")
        roles.save_role(
            role, name="harmless", description="", permissions=["view", "approve"], actor=eve, reason="x y z"
        )
        assert "what eve did" in refused(eve, pal)


class TestEverywhere:
    def test_the_page_says_why_and_has_no_button(self, eve: User, bob: User) -> None:
        second = made_by(eve)
        let_in(bob, second)
        operation = waits(User.objects.get(pk=eve.pk))
        client = Client()
        client.force_login(second, backend=BACKEND)
        page = client.get(reverse("operations:operation", args=[operation.pk])).content.decode()
        assert "do not count as two persons" in page
        assert reverse("operations:approve", args=[operation.pk]) not in page
        assert client.post(reverse("operations:approve", args=[operation.pk])).status_code == 403

    def test_a_batch(self, eve: User, bob: User) -> None:
        from apps.operations import batches

        second = made_by(eve)
        let_in(bob, second)
        with factories.as_system():
            ApprovalRule.objects.create(kind="restart", min_targets=1, note="two people")
        ids = [factories.make_instance().pk for _ in range(2)]
        done = services.submit_many(
            kind="restart",
            target_ids=ids,
            params={},
            actor=User.objects.get(pk=eve.pk),
            reason="for the test",
        )
        assert done.batch is not None
        with pytest.raises(services.Refused, match="do not count as two persons"):
            batches.approve_waiting(done.batch, actor=User.objects.get(pk=second.pk))
        assert batches.approve_waiting(done.batch, actor=bob) == 2

    def test_a_request_for_access(self, eve: User, bob: User) -> None:
        second = made_by(eve)
        let_in(bob, second, "viewer")
        second = User.objects.get(pk=second.pk)
        asked = asking.ask(
            person=second,
            role=factories.make_role("operator"),
            kind="everything",
            name="",
            minutes=60,
            reason="x y z",
        )
        with pytest.raises(PermissionDenied, match="do not count as two persons"):
            asking.decide(asked, actor=eve, yes=True, words="")
        client = Client()
        client.force_login(eve, backend=BACKEND)
        page = client.get(reverse("access:request", args=[asked.pk])).content.decode()
        assert "do not count as two persons" in page
        assert 'value="yes"' not in page
        asking.decide(asked, actor=eve, yes=False, words="a no is anybody's")

    def test_glass_that_was_broken(self, eve: User, bob: User) -> None:
        second = made_by(eve)
        let_in(bob, second)
        factories.make_role("small", ["view", "restart"])
        glass = breaking.break_glass(
            person=User.objects.get(pk=second.pk), role=factories.make_role("small"), kind="everything", name="", minutes=5,
            reason="fire",
        )  # fmt: skip
        breaking.end(glass, person=second)
        breaking.explain(glass, person=second, text="it was on fire and could not wait")
        glass.refresh_from_db()
        assert "do not count as two persons" in breaking.why_not_review(glass, eve)
        assert breaking.why_not_review(glass, bob) == ""
