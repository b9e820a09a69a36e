"""Access reviews: what each used, kept or removed by somebody else, carried out when it is closed."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from apps.access import hands, reviewing
from apps.access.choices import HandKind
from apps.access.granting import NotGiven
from apps.access.models import AccessReview, Grant, ReviewItem, User
from apps.access.scoping import holds
from apps.access.services import give_grant, scope_for, system_actor
from apps.audit.models import AuditEntry
from tests import factories

pytestmark = pytest.mark.django_db


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def chief() -> User:
    user = factories.make_user("chief")
    factories.grant(user, "admin")
    return user


@pytest.fixture
def olga() -> User:
    """Operates everything, for half a year by now."""
    user = factories.make_user("olga")
    aged(factories.grant(user, "operator"))
    return user


def aged(given: Grant, days: int = 180) -> Grant:
    Grant.objects.filter(pk=given.pk).unrecorded_update(created_at=timezone.now() - timedelta(days=days))
    return given


def start(actor: User, name: str = "Q4") -> AccessReview:
    return reviewing.start(name=name, actor=actor, reason="as each quarter")


def item(review: AccessReview, user: User) -> ReviewItem:
    return review.items.get(person=user)


def use(user: User) -> None:
    """Something that the trail tells, under a grant."""
    factories.grant(factories.make_user(), "viewer")
    assert client_of(user).get(reverse("fleet:instances"), {"_export": "csv"}).status_code == 200
    assert AuditEntry.objects.filter(actor=user, grant_id__isnull=False).exists()


class TestWhatIsProposed:
    def test_what_was_used_is_kept_and_says_how_often(self, chief: User, olga: User) -> None:
        use(olga)
        found = item(start(chief), olga)
        assert (found.proposal, found.uses) == ("keep", 1)
        assert found.last_used_at is not None
        assert found.why.startswith("used 1 times, last on ")

    def test_what_was_not_is_to_be_removed(self, chief: User, olga: User) -> None:
        found = item(start(chief), olga)
        assert (found.proposal, found.why) == ("remove", "not used for 90 days")

    def test_use_before_that_is_no_use(self, chief: User, olga: User) -> None:
        use(olga)
        with time_machine.travel(timezone.now() + timedelta(days=91)):
            assert item(start(chief), olga).proposal == "remove"

    def test_what_was_given_lately_may_still_be_used(self, chief: User) -> None:
        ada = factories.make_user("ada")
        factories.grant(ada, "operator")
        assert item(start(chief), ada).why.startswith("given only on")

    @pytest.mark.parametrize(("last_login", "proposal"), [(None, "remove"), (100, "remove"), (5, "keep")])
    def test_who_only_looks_leaves_no_trace_but_signs_in(
        self, chief: User, last_login: int | None, proposal: str
    ) -> None:
        vera = factories.make_user("vera")
        aged(factories.grant(vera, "viewer"))
        at = timezone.now() - timedelta(days=last_login) if last_login else None
        User.objects.filter(pk=vera.pk).unrecorded_update(last_login=at)
        assert item(start(chief), vera).proposal == proposal

    def test_what_has_ended_is_not_asked_for(self, chief: User) -> None:
        ada = factories.make_user("ada")
        factories.grant(ada, "operator", until=timezone.now() + timedelta(minutes=1))
        with time_machine.travel(timezone.now() + timedelta(minutes=2)):
            assert not start(chief).items.filter(person=ada).exists()


class TestWhoDecides:
    def test_nobody_keeps_what_a_second_account_of_theirs_holds(self, chief: User, olga: User) -> None:
        hands.note(by=chief, how=HandKind.MADE, words="chief made the account of olga", people=[olga.pk])
        found = item(start(chief), olga)
        with pytest.raises(PermissionDenied, match="do not count as two persons"):
            reviewing.decide(found, actor=chief, decision="keep", note="they need it")
        assert item(found.review, olga).decision == ""
        reviewing.decide(found, actor=chief, decision="remove", note="a no is anybody's")
        other = factories.make_user("other")
        factories.grant(other, "admin")
        reviewing.decide(found, actor=other, decision="keep", note="they need it")

    def test_nobody_on_their_own_nor_on_their_groups(self, chief: User) -> None:
        with factories.as_system():
            group = Group.objects.create(name="on call")
            chief.groups.add(group)
            give_grant(
                to=group, role=factories.make_role("viewer"), scope=scope_for("everything"),
                actor=system_actor("command"), reason="x y",
            )  # fmt: skip
        review = start(chief)
        for one in review.items.all():
            with pytest.raises(PermissionDenied, match="Somebody else"):
                reviewing.decide(one, actor=chief, decision="keep", note="mine")
            assert client_of(chief).post(reverse("access:decide_review", args=[one.pk])).status_code == 404
        assert not review.items.exclude(decision="").exists()

    def test_only_where_one_manages_access(self, chief: User, olga: User) -> None:
        here, there = factories.make_account("here"), factories.make_account("there")
        lead, ada, other = (factories.make_user(name) for name in ("lead", "ada", "zebedee"))
        factories.grant(lead, "admin", "account", here)
        factories.grant(ada, "viewer", "account", here)
        factories.grant(other, "viewer", "account", there)
        review = start(chief)
        assert [one.person for one in reviewing.items_of(review, lead)] == [ada]
        text = client_of(lead).get(reverse("access:review", args=[review.pk])).content.decode()
        assert "ada" in text
        assert "zebedee" not in text
        assert client_of(lead).get(reverse("access:review_evidence", args=[review.pk])).status_code == 403
        with pytest.raises(PermissionDenied):
            reviewing.close(review, actor=lead, reason="done it")

    def test_against_the_proposal_only_with_a_word(self, chief: User, olga: User) -> None:
        found = item(start(chief), olga)
        with pytest.raises(NotGiven, match="say why not"):
            reviewing.decide(found, actor=chief, decision="keep")
        kept = reviewing.decide(found, actor=chief, decision="keep", note="covers for Max")
        assert (kept.decision, kept.decided_by) == ("keep", chief)
        with pytest.raises(NotGiven, match="Choose"):
            reviewing.decide(found, actor=chief, decision="burn")


class TestClosing:
    def test_it_takes_what_was_decided_and_nothing_else(self, chief: User, olga: User) -> None:
        ada = factories.make_user("ada")
        aged(factories.grant(ada, "operator"))
        review = start(chief)
        reviewing.decide(item(review, olga), actor=chief, decision="remove")
        assert holds(User.objects.get(pk=olga.pk), "deploy")
        reviewing.close(review, actor=chief, reason="quarter is over")
        assert not holds(User.objects.get(pk=olga.pk), "deploy")
        assert holds(User.objects.get(pk=ada.pk), "deploy")
        assert (item(review, olga).outcome, item(review, ada).outcome) == ("removed", "kept: nobody decided")
        entry = AuditEntry.objects.filter(content_type__model="grant", action=2).latest("pk")
        assert (entry.actor, entry.reason) == (chief, "access review Q4: not used for 90 days")

    def test_what_went_meanwhile_is_told_so(self, chief: User, olga: User) -> None:
        review = start(chief)
        reviewing.decide(item(review, olga), actor=chief, decision="remove")
        with factories.as_system():
            Grant.objects.filter(user=olga).delete()
        reviewing.close(review, actor=chief, reason="quarter is over")
        assert item(review, olga).outcome == "was gone already"

    def test_closed_it_stands(self, chief: User, olga: User) -> None:
        review = start(chief)
        reviewing.close(review, actor=chief, reason="quarter is over")
        with pytest.raises(NotGiven, match="closed"):
            reviewing.close(review, actor=chief, reason="once more")
        with pytest.raises(NotGiven, match="closed"):
            reviewing.decide(item(review, olga), actor=chief, decision="remove")

    def test_somebody_still_manages_access(self, chief: User, olga: User) -> None:
        """The reviewer holds it for a while only, so that the one to be removed is the last for good."""
        boss = factories.make_user("boss")
        factories.grant(boss, "admin", until=timezone.now() + timedelta(hours=1))
        review = start(boss)
        reviewing.decide(item(review, olga), actor=boss, decision="remove")
        reviewing.decide(item(review, chief), actor=boss, decision="remove", note="has left")
        with pytest.raises(NotGiven, match="nobody could give access"):
            reviewing.close(review, actor=boss, reason="quarter is over")
        assert Grant.objects.filter(user=olga).exists()
        assert AccessReview.objects.get().closed_at is None


class TestEvidence:
    def test_csv_and_json_tell_all_and_taking_them_is_told(self, chief: User, olga: User) -> None:
        review = start(chief)
        reviewing.decide(item(review, olga), actor=chief, decision="remove", note="=moved away")
        reviewing.close(review, actor=chief, reason="quarter is over")
        client, url = client_of(chief), reverse("access:review_evidence", args=[review.pk])
        rows = {
            row["holder"]: row
            for row in csv.DictReader(io.StringIO(client.get(url, {"as": "csv"}).content.decode()))
        }
        assert (rows["olga"]["proposal"], rows["olga"]["decision"], rows["olga"]["outcome"]) == (
            "remove",
            "remove",
            "removed",
        )
        assert (rows["olga"]["decided_by"], rows["olga"]["note"]) == ("chief", "'=moved away")
        listed = client.get(url).json()["grants"]
        assert {one["holder"]: one["note"] for one in listed}["olga"] == "=moved away"
        assert AuditEntry.objects.filter(event="export", actor=chief).count() == 2


def test_its_page_costs_the_same_for_few_and_for_many(chief: User) -> None:
    client = client_of(chief)
    client.get("/access/reviews/")

    def cost(name: str) -> int:
        url = reverse("access:review", args=[start(chief, name).pk])
        with CaptureQueriesContext(connection) as queries:
            client.get(url)
        return len(queries)

    factories.grant(factories.make_user(), "viewer")
    few = cost("few")
    for _ in range(20):
        factories.grant(factories.make_user(), "viewer", "account", factories.make_account())
    assert cost("many") == few
    assert few <= 20


def test_a_name_is_taken_once(chief: User) -> None:
    start(chief)
    answer: Any = client_of(chief).post(reverse("access:start_review"), {"name": "Q4", "reason": "x y z"})
    assert answer.status_code == 422
    assert "There is a review Q4 already" in answer.content.decode()
