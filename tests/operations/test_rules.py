"""An approval rule asks for more at once, and for less only when two people say so."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.access import hands
from apps.access.choices import HandKind
from apps.access.models import Notice, User
from apps.access.services import scope_for
from apps.audit.models import AuditEntry
from apps.core.models import Event
from apps.operations import rules
from apps.operations.models import ApprovalRule, ApprovalRuleChange
from apps.operations.services import Refused
from tests import factories

pytestmark = pytest.mark.django_db
BACKEND = "django.contrib.auth.backends.ModelBackend"
PAGE = "operations:approval_rules"


@pytest.fixture
def eve() -> User:
    user = factories.make_user("eve")
    factories.grant(user, "admin")
    return user


@pytest.fixture
def bob() -> User:
    user = factories.make_user("bob")
    factories.grant(user, "admin")
    return user


@pytest.fixture
def rule() -> ApprovalRule:
    with factories.as_system():
        return ApprovalRule.objects.create(kind="restart", min_targets=5, note="two people")


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user, backend=BACKEND)
    return client


def edit(actor: User, rule: ApprovalRule, **fields: Any) -> ApprovalRuleChange | None:
    edited = ApprovalRule.objects.get(pk=rule.pk)
    for name, value in fields.items():
        setattr(edited, name, value)
    return rules.change_rule(edited, actor=actor, reason="ticket 7")


def end(actor: User, rule: ApprovalRule, *, deletes: bool = True) -> ApprovalRuleChange:
    return rules.propose_end(rule, deletes=deletes, actor=actor, reason="ticket 7")


def in_admin(actor: User, rule: ApprovalRule, **fields: Any) -> Any:
    data = {
        "kind": rule.kind, "min_targets": rule.min_targets, "zone": rule.zone, "note": rule.note, "is_enabled": "on",
        "scope": "", "from_hour": "", "to_hour": "", "fix_reason": "ticket 7", **fields,
    }  # fmt: skip
    url = reverse("admin:operations_approvalrule_change", args=[rule.pk])
    return client_of(actor).post(url, {name: value for name, value in data.items() if value is not None})


class TestWhatWeakens:
    @pytest.mark.parametrize(
        ("before", "after", "weaker"),
        [
            ({}, {"is_enabled": False}, True),
            ({"is_enabled": False}, {"is_enabled": False, "min_targets": 9}, False),
            ({"is_enabled": False}, {"is_enabled": True, "min_targets": 9}, False),
            ({"min_targets": 2}, {"min_targets": 3}, True),
            ({"min_targets": 3}, {"min_targets": 2}, False),
            ({"min_targets": 0}, {"min_targets": 1}, False),
            ({"kind": ""}, {"kind": "restart"}, True),
            ({"kind": "stop"}, {"kind": "restart"}, True),
            ({"kind": "stop"}, {"kind": ""}, False),
            ({}, {"from_hour": 9, "to_hour": 17}, True),
            ({"from_hour": 9, "to_hour": 17}, {}, False),
            ({"from_hour": 9, "to_hour": 17}, {"from_hour": 10, "to_hour": 17}, True),
            ({"from_hour": 9, "to_hour": 17}, {"from_hour": 8, "to_hour": 18}, False),
            ({"from_hour": 22, "to_hour": 6}, {"from_hour": 20, "to_hour": 7}, False),
            ({"from_hour": 22, "to_hour": 6}, {"from_hour": 22, "to_hour": 23}, True),
            ({"from_hour": 9, "to_hour": 17}, {"from_hour": 7, "to_hour": 7}, False),
            ({"from_hour": 9, "to_hour": 17}, {"from_hour": 9, "to_hour": 17, "zone": "Asia/Tokyo"}, True),
            ({}, {"zone": "Asia/Tokyo"}, False),
            ({}, {"note": "x"}, False),
            ({"min_targets": 5}, {"min_targets": 1, "kind": "stop"}, True),
        ],
    )
    def test_in_each_regard(self, before: dict[str, Any], after: dict[str, Any], weaker: bool) -> None:
        assert rules.weakens(ApprovalRule(**before), ApprovalRule(**after)) == weaker

    def test_in_place(self) -> None:
        with factories.as_system():
            cell, other = (scope_for("cell", factories.make_cell()) for _ in range(2))
            everything = scope_for("everything", None)
        anywhere, here = ApprovalRule(), ApprovalRule(scope=cell)
        assert rules.weakens(anywhere, here)
        assert rules.weakens(here, ApprovalRule(scope=other))
        assert not rules.weakens(here, ApprovalRule(scope=cell))
        assert not rules.weakens(here, anywhere)
        assert not rules.weakens(anywhere, ApprovalRule(scope=everything))


class TestOnePerson:
    @pytest.mark.parametrize(
        "fields", [{"is_enabled": False}, {"min_targets": 50}, {"from_hour": 9, "to_hour": 10}]
    )
    def test_they_cannot_weaken_it(self, eve: User, rule: ApprovalRule, fields: dict[str, Any]) -> None:
        assert edit(eve, rule, **fields) is not None
        assert rules.says(ApprovalRule.objects.get()) == rules.says(rule)

    def test_nor_take_it_away(self, eve: User, rule: ApprovalRule) -> None:
        end(eve, rule)
        assert ApprovalRule.objects.get() == rule

    def test_nor_agree_to_their_own(self, eve: User, rule: ApprovalRule) -> None:
        change = end(eve, rule)
        with pytest.raises(PermissionDenied, match="alone"):
            rules.decide_change(change, yes=True, actor=eve)
        assert ApprovalRule.objects.exists()

    def test_nor_does_the_database_let_them(self, eve: User, rule: ApprovalRule) -> None:
        change = end(eve, rule)
        change.state, change.decided_by = "agreed", eve
        with pytest.raises(IntegrityError), transaction.atomic(), factories.as_system():
            change.save()

    def test_nor_by_a_second_account_of_theirs(self, eve: User, rule: ApprovalRule) -> None:
        second = factories.make_user("eve2")
        factories.grant(second, "admin")
        hands.note(by=eve, how=HandKind.MADE, words="eve made the account of eve2", people=[second.pk])
        change = end(eve, rule)
        with pytest.raises(PermissionDenied, match="eve made the account of eve2"):
            rules.decide_change(change, yes=True, actor=second)
        assert ApprovalRule.objects.exists()

    def test_they_have_it_ask_for_more_at_once(self, eve: User, rule: ApprovalRule) -> None:
        assert edit(eve, rule, min_targets=1, note="always") is None
        rule.refresh_from_db()
        assert (rule.min_targets, rule.note) == (1, "always")
        assert Event.objects.get(kind="approval_rule.changed").actor_id == eve.pk

    def test_who_fixes_data_somewhere_only_changes_none(self, rule: ApprovalRule) -> None:
        some = factories.make_user("some")
        factories.grant(some, "admin", "account", factories.make_account())
        with pytest.raises(PermissionDenied):
            edit(some, rule, min_targets=1)
        with pytest.raises(PermissionDenied):
            end(some, rule)

    def test_a_proposal_needs_a_reason(self, eve: User, rule: ApprovalRule) -> None:
        with pytest.raises(Refused, match="Say why"):
            rules.propose_end(rule, deletes=True, actor=eve, reason=" ")

    def test_what_is_off_is_not_switched_off(self, eve: User, rule: ApprovalRule) -> None:
        with factories.as_system():
            rule.is_enabled = False
            rule.save()
        with pytest.raises(Refused, match="off already"):
            end(eve, rule, deletes=False)


class TestWhoIsTold:
    def test_the_others_get_a_letter_and_see_it_on_the_bar(
        self, eve: User, bob: User, rule: ApprovalRule
    ) -> None:
        viewer, part = factories.make_user("viewer"), factories.make_user("part")
        factories.grant(viewer, "viewer")
        factories.grant(part, "admin", "account", factories.make_account())
        end(eve, rule)
        end(eve, rule)  # a doubled click writes nobody twice
        [letter] = Notice.objects.filter(subject__contains="approval rule")
        assert letter.to == bob.email
        assert "ticket 7" in letter.body and reverse(PAGE) in letter.body
        told = {user: "approval rule" in text_of_bar(user) for user in (eve, bob, viewer, part)}
        assert told == {eve: False, bob: True, viewer: False, part: False}

    def test_once_decided_nobody_is_asked_any_more(self, eve: User, bob: User, rule: ApprovalRule) -> None:
        rules.decide_change(end(eve, rule), yes=False, actor=bob)
        assert "approval rule" not in text_of_bar(bob)


def text_of_bar(user: User) -> str:
    return client_of(user).get(reverse("core:bar")).content.decode()


class TestTwoPeople:
    def test_they_weaken_it(self, eve: User, bob: User, rule: ApprovalRule) -> None:
        change = edit(eve, rule, min_targets=50, note="large ones")
        assert change is not None
        rules.decide_change(change, yes=True, actor=bob)
        rule.refresh_from_db()
        assert (rule.min_targets, rule.note) == (50, "large ones")
        entry = AuditEntry.objects.filter(object_pk=str(rule.pk), actor=bob).latest("pk")
        assert "min_targets" in entry.changes

    def test_they_take_it_away_and_the_record_stays(self, eve: User, bob: User, rule: ApprovalRule) -> None:
        change = rules.decide_change(end(eve, rule), yes=True, actor=bob)
        assert not ApprovalRule.objects.exists()
        change.refresh_from_db()
        assert (change.state, change.decided_by, change.proposed_by) == ("agreed", bob, eve)

    def test_a_doubled_click_counts_once(self, eve: User, bob: User, rule: ApprovalRule) -> None:
        first, again = end(eve, rule, deletes=False), end(eve, rule, deletes=False)
        assert first == again
        rules.decide_change(first, yes=True, actor=bob)
        with pytest.raises(Refused, match="waits no longer"):
            rules.decide_change(again, yes=True, actor=bob)
        assert Event.objects.filter(kind="approval_rule.agreed").count() == 1

    def test_a_no_leaves_it(self, eve: User, bob: User, rule: ApprovalRule) -> None:
        change = rules.decide_change(end(eve, rule), yes=False, actor=bob)
        assert (change.state, ApprovalRule.objects.count()) == ("refused", 1)
        with pytest.raises(Refused):
            rules.decide_change(change, yes=True, actor=bob)

    def test_who_proposed_takes_it_back(self, eve: User, rule: ApprovalRule) -> None:
        assert rules.decide_change(end(eve, rule), yes=False, actor=eve).state == "refused"

    def test_who_may_not_approve_everywhere_decides_nothing(self, eve: User, rule: ApprovalRule) -> None:
        some = factories.make_user("some")
        factories.grant(some, "admin", "account", factories.make_account())
        change = end(eve, rule)
        for yes in (True, False):
            with pytest.raises(PermissionDenied):
                rules.decide_change(change, yes=yes, actor=some)

    def test_what_changed_meanwhile_is_overtaken(self, eve: User, bob: User, rule: ApprovalRule) -> None:
        change = end(eve, rule)
        edit(bob, rule, min_targets=1)
        with pytest.raises(Refused, match="overtaken"):
            rules.decide_change(change, yes=True, actor=bob)
        assert ApprovalRule.objects.exists()

    def test_nor_does_it_count_where_the_rule_changed_by_any_other_way(
        self, eve: User, bob: User, rule: ApprovalRule
    ) -> None:
        change = edit(eve, rule, min_targets=50)
        assert change is not None
        with factories.as_system():
            rule.kind = ""
            rule.save()
        with pytest.raises(Refused, match="changed since"):
            rules.decide_change(change, yes=True, actor=bob)
        rules.decide_change(change, yes=False, actor=bob)

    def test_a_note_overtakes_nothing(self, eve: User, bob: User, rule: ApprovalRule) -> None:
        change = edit(eve, rule, min_targets=50)
        assert change is not None
        edit(bob, rule, note="another")
        rules.decide_change(change, yes=True, actor=bob)
        rule.refresh_from_db()
        assert (rule.min_targets, rule.note) == (50, "another")

    def test_another_proposal_is_not_agreed_to_unseen(self, eve: User, bob: User, rule: ApprovalRule) -> None:
        seen = edit(eve, rule, min_targets=6)
        assert seen is not None
        edit(eve, rule, min_targets=5000)
        with pytest.raises(Refused, match="overtaken"):
            rules.decide_change(seen, yes=True, actor=bob)
        rule.refresh_from_db()
        assert rule.min_targets == 5

    def test_one_that_there_is_already(self, eve: User, bob: User, rule: ApprovalRule) -> None:
        change = edit(eve, rule, min_targets=50)
        assert change is not None
        with factories.as_system():
            ApprovalRule.objects.create(kind="restart", min_targets=50, note="x")
        with pytest.raises(Refused, match="already exists"):
            rules.decide_change(change, yes=True, actor=bob)


class TestTheAdmin:
    def test_a_weaker_edit_waits(self, eve: User, rule: ApprovalRule) -> None:
        answer = in_admin(eve, rule, is_enabled=None)
        assert (answer.status_code, answer.url) == (302, reverse(PAGE))
        rule.refresh_from_db()
        assert rule.is_enabled
        assert ApprovalRuleChange.objects.get().wanted == {"is_enabled": False}
        assert not Event.objects.filter(kind="data.fixed").exists()

    def test_a_stronger_one_counts(self, eve: User, rule: ApprovalRule) -> None:
        assert in_admin(eve, rule, min_targets=1).url == reverse("admin:operations_approvalrule_changelist")
        rule.refresh_from_db()
        assert rule.min_targets == 1
        assert not ApprovalRuleChange.objects.exists()

    def test_a_new_one_counts(self, eve: User) -> None:
        url = reverse("admin:operations_approvalrule_add")
        data = {
            "kind": "",
            "min_targets": 1,
            "zone": "UTC",
            "note": "x",
            "is_enabled": "on",
            "fix_reason": "ticket",
        }
        assert client_of(eve).post(url, data).status_code == 302
        assert ApprovalRule.objects.get().is_enabled

    def test_nothing_is_deleted_there(self, eve: User, rule: ApprovalRule) -> None:
        client = client_of(eve)
        url = reverse("admin:operations_approvalrule_delete", args=[rule.pk])
        assert client.post(url, {"post": "yes", "fix_reason": "ticket 7"}).status_code == 403
        data = {
            "action": "delete_selected",
            "_selected_action": [rule.pk],
            "post": "yes",
            "fix_reason": "ticket 7",
        }
        client.post(reverse("admin:operations_approvalrule_changelist"), data)
        assert ApprovalRule.objects.get() == rule

    def test_nor_are_proposals_written(self, eve: User, rule: ApprovalRule) -> None:
        change = end(eve, rule)
        url = reverse("admin:operations_approvalrulechange_change", args=[change.pk])
        assert client_of(eve).post(url, {"state": "agreed", "fix_reason": "ticket 7"}).status_code == 403


class TestThePage:
    def test_it_is_proposed_seen_and_decided(self, eve: User, bob: User, rule: ApprovalRule) -> None:
        asks, decides = client_of(eve), client_of(bob)
        url = reverse("operations:end_rule", args=[rule.pk])
        assert asks.post(url, {"order": "off"}).status_code == 422
        assert asks.post(url, {"order": "off", "reason": "ticket 7"}).status_code == 302
        change = ApprovalRuleChange.objects.get()
        own, others = (client.get(reverse(PAGE)).content.decode() for client in (asks, decides))
        assert "on: yes → no" in others
        assert ("Agree</button>" in own, "Agree</button>" in others) == (False, True)
        assert "Take back" in own
        url = reverse("operations:decide_rule_change", args=[change.pk])
        assert asks.post(url, {"answer": "yes"}).status_code == 403
        assert decides.post(url, {"answer": "perhaps"}).status_code == 422
        assert decides.post(url, {"answer": "yes"}).status_code == 302
        assert decides.post(url, {"answer": "yes"}).status_code == 422
        rule.refresh_from_db()
        assert not rule.is_enabled
        assert "Agreed to" in decides.get(reverse(PAGE)).content.decode()

    def test_it_costs_the_same_for_two_rules_and_for_twenty(self, eve: User, bob: User) -> None:
        client, costs = client_of(bob), []
        for first, last in ((1, 3), (3, 21)):
            for number in range(first, last):
                with factories.as_system():
                    scope = scope_for("cell", factories.make_cell())
                    made = ApprovalRule.objects.create(min_targets=number, scope=scope, note="x")
                end(eve, made)
            client.get(reverse(PAGE))
            with CaptureQueriesContext(connection) as queries:
                client.get(reverse(PAGE))
            costs.append(len(queries))
        assert costs[0] == costs[1] <= 15
