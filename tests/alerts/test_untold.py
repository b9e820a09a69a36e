"""Nobody is told, and that is said; what becomes worse is told of; what is over stays where it was told of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.access.models import User
from apps.alerts import certificates, escalation, gaps, managing, processing, services
from apps.alerts.models import (
    Alert,
    Channel,
    Escalation,
    EscalationPolicy,
    EscalationStep,
    Incident,
    Page,
    Silence,
)
from apps.core.models import Event
from apps.fleet.models import Cell, Certificate, Instance
from tests.alerts.conftest import fail, make_channel, make_escalation, mend, only_incident, see
from tests.factories import as_system, grant, make_account, make_cell, make_instance, make_role, make_user

Many = Callable[[int], list[Instance]]


def told(kind: str) -> list[str]:
    return list(Event.objects.filter(kind=f"incident.{kind}").order_by("id").values_list("why", flat=True))


def by_channel(boss: User, name: str, **fields: Any) -> EscalationPolicy:
    step = EscalationStep(channel=make_channel(boss, name), wait=60)
    return managing.save_escalation(EscalationPolicy(name=name, **fields), steps=[step], actor=boss)


def page_of(user: User, name: str, *args: object) -> str:
    client = Client()
    client.force_login(user)
    return client.get(reverse(name, args=args)).content.decode()


class TestNobody:
    def test_the_timeline_says_so_once(self, cell: Cell, boss: User) -> None:
        by_channel(boss, "elsewhere", account=make_account("other"))
        one, two = (make_instance(cell=cell) for _ in range(2))
        fail(one)
        fail(two)
        assert told("untold") == [f"no escalation policy fits it: critical, in {cell.region.account}"]
        assert Escalation.objects.get().state == "nobody"
        assert escalation.escalate() == 0 and not Page.objects.exists()

    def test_pages_say_so(self, cell: Cell, boss: User, olga: User) -> None:
        fail(make_instance(cell=cell))
        incident = only_incident()
        words = "No escalation policy fits this incident: nobody is told."
        mine, hers = (page_of(user, "alerts:incident", incident.pk) for user in (boss, olga))
        assert words in mine and words in hers
        assert reverse("alerts:new_escalation") in mine
        assert reverse("alerts:new_escalation") not in hers, "she may not make one"
        assert "nobody is told: no escalation policy fits it" in page_of(olga, "fleet:overview")

    @pytest.mark.parametrize("fits", [True, False])
    def test_a_policy_that_comes_later_begins(self, cell: Cell, boss: User, fits: bool) -> None:
        fail(make_instance(cell=cell))
        account = cell.region.account if fits else make_account("other")
        assert escalation.find_policies() == 0
        by_channel(boss, "later", account=account)
        assert escalation.find_policies() == int(fits)
        assert (escalation.find_policies(), escalation.escalate()) == (0, int(fits))
        assert Page.objects.count() == int(fits)

    def test_not_once_somebody_looks_after_it(self, cell: Cell, boss: User) -> None:
        fail(make_instance(cell=cell))
        services.acknowledge(only_incident(), actor=boss)
        by_channel(boss, "later")
        assert (escalation.find_policies(), escalation.escalate()) == (0, 0)
        assert Escalation.objects.get().state == "acknowledged"

    def test_as_many_queries_for_many(self, cell: Cell, boss: User, django_assert_num_queries: Any) -> None:
        by_channel(boss, "elsewhere", account=make_account("other"))
        for _ in range(3):
            fail(make_instance(cell=make_cell()))
        with django_assert_num_queries(3):
            escalation.find_policies()


def test_who_sees_one_account_reads_no_others_name(cell: Cell, boss: User) -> None:
    """Neither on the timeline of an incident in several accounts, nor on the page of who is on call."""
    theirs = make_cell("far", account=make_account("northwind-byoc"))
    by_channel(boss, "theirs", account=theirs.region.account, min_severity="info")
    by_channel(boss, "mine", account=make_account("third"))
    with as_system():
        incident = Incident.objects.create(title="x", cause_key="dependency:x", severity="critical")
    fail([make_instance(cell=cell), make_instance(cell=theirs)])
    Alert.objects.update(incident=incident)
    Escalation.objects.all().delete()
    with as_system():
        EscalationPolicy.objects.all().update(is_enabled=False)
        escalation.begin(incident)
    assert told("untold")[-1] == "no escalation policy fits it: critical, in 2 accounts"
    viewer = make_user("viewer")
    grant(viewer, "viewer", "account", cell.region.account)
    for page in (page_of(viewer, "alerts:on_call"), page_of(viewer, "alerts:incident", incident.pk)):
        assert "northwind" not in page
    assert "northwind-byoc only" in page_of(boss, "alerts:on_call")


class TestGaps:
    def test_what_nobody_is_told_of_stands_on_the_page(self, boss: User, cell: Cell) -> None:
        both = "No escalation policy fits critical or warning incidents: nobody is told of them."
        assert gaps.gaps() == [both]
        by_channel(boss, "here", account=cell.region.account)
        assert gaps.gaps() == [both.replace("incidents", f"incidents outside of {cell.region.account}")]
        by_channel(boss, "worst", min_severity="critical")
        assert gaps.gaps() == [
            f"No escalation policy fits warning incidents outside of {cell.region.account}: nobody is told of them."
        ]
        assert gaps.gaps()[0] in page_of(boss, "alerts:on_call")
        policy = by_channel(boss, "everything else", rank=1000)
        assert gaps.gaps() == []
        with as_system():
            policy.steps.all().delete()
            EscalationPolicy.objects.filter(name="worst").update(is_enabled=False)
        assert len(gaps.gaps()) == 1, "one without steps tells nobody"

    def test_who_is_on_call_and_cannot_be_reached(self, boss: User) -> None:
        policy = make_escalation(boss, boss)
        assert gaps.unreachable() == []
        with as_system():
            Channel.objects.update(is_enabled=False)
        words = f"{boss} is on call on always-boss and has no channel that is enabled."
        assert gaps.unreachable() == [words]
        assert words in page_of(boss, "alerts:on_call")
        with as_system():
            policy.steps.get().schedule.members.all().delete()
        assert gaps.unreachable() == [
            "Nobody is on call on always-boss, of which an escalation policy tells."
        ]
        with as_system():
            EscalationPolicy.objects.update(is_enabled=False)
        assert gaps.unreachable() == [], "of which nothing tells"

    def test_a_round_that_reached_nobody_is_not_begun_again_at_once(self, cell: Cell, boss: User) -> None:
        """Somebody may have added a channel by then."""
        make_escalation(boss, boss, channels=0, repeats=1)
        fail(make_instance(cell=cell))
        now = timezone.now()
        for seconds in (0, 2, 4, 61, 63):
            escalation.escalate(now + timedelta(seconds=seconds))
        assert told("unreached") == ["boss has no channel that is enabled"] * 2
        make_channel(boss, "mine", owner=boss)
        assert Escalation.objects.get().state == "active"

    def test_the_link_fills_the_form(self, boss: User) -> None:
        client = Client()
        client.force_login(boss)
        form = client.get(reverse("alerts:new_escalation"), {"name": "Everything else", "rank": "1000"})
        assert 'value="Everything else"' in form.content.decode() and 'value="1000"' in form.content.decode()


class TestWorse:
    def test_degraded_then_failing_makes_the_incident_worse(self, cell: Cell, boss: User) -> None:
        """And is told of by the policy that fits it now, from its first step."""
        by_channel(boss, "soft", rank=2)
        by_channel(boss, "loud", rank=1, min_severity="critical")
        one = make_instance(cell=cell)
        see(one, "running", degraded=True)
        assert (only_incident().severity, escalation.escalate()) == ("warning", 1)
        fail(one)
        assert only_incident().severity == "critical"
        assert told("worse") == ["loud tells of it"]
        assert escalation.escalate() == 1
        assert [p.turn for p in Page.objects.order_by("id")] == [0, 1]
        assert told("paged") == ["step 1 of soft", "step 1 of loud"]
        assert escalation.escalate(timezone.now() + timedelta(hours=1)) == 1
        assert told("paged")[-1] == "step 1 of loud, again"

    def test_where_nobody_was_left_to_tell_it_begins_again(self, cell: Cell, boss: User) -> None:
        by_channel(boss, "one", repeats=0)
        one = make_instance(cell=cell)
        see(one, "running", degraded=True)
        later = timezone.now() + timedelta(hours=1)
        assert (escalation.escalate(), escalation.escalate(later)) == (1, 0)
        assert Escalation.objects.get().state == "exhausted"
        fail(one)
        assert escalation.escalate() == 1

    def test_not_of_one_that_somebody_looks_after(self, cell: Cell, boss: User) -> None:
        by_channel(boss, "one")
        one = make_instance(cell=cell)
        see(one, "running", degraded=True)
        services.acknowledge(only_incident(), actor=boss)
        fail(one)
        assert (only_incident().severity, escalation.escalate()) == ("critical", 0)

    def test_a_certificate_that_only_was_to_be_seen_pages_seven_days_before_its_end(
        self, instances: Many, boss: User
    ) -> None:
        by_channel(boss, "one")
        now = timezone.now()
        Certificate.objects.create(
            instance=instances(1)[0], not_before=now - timedelta(days=10), not_after=now + timedelta(days=40), key="Ed25519"
        )  # fmt: skip
        paged = []
        for days in (15, 34):
            certificates.look(now + timedelta(days=days))
            processing.process_signals()
            paged.append(escalation.escalate())
        assert (paged, only_incident().severity) == ([0, 1], "warning")

    def test_what_could_wait_in_quiet_hours_no_longer_can(self, cell: Cell, boss: User) -> None:
        at = timezone.now()
        quiet = {
            "quiet_from": (at - timedelta(hours=1)).time(),
            "quiet_until": (at + timedelta(hours=1)).time(),
        }
        by_channel(boss, "one", **quiet)
        one = make_instance(cell=cell)
        see(one, "running", degraded=True)
        assert escalation.escalate() == 0
        fail(one)
        assert escalation.escalate() == 1, "at once, not a minute later"


class TestHeld:
    def test_a_silence_stops_an_escalation_under_way_until_it_ends(self, cell: Cell, boss: User) -> None:
        make_escalation(boss, boss)
        one = make_instance(cell=cell)
        fail(one)
        now = timezone.now()
        assert escalation.escalate(now) == 1
        until = now + timedelta(hours=1)
        made = services.silence(Silence(instance=one, ends_at=until, reason="a known matter"), actor=boss)
        assert [escalation.escalate(now + timedelta(seconds=s)) for s in (61, 130, 200)] == [0, 0, 0]
        services.end_silence(made, actor=boss)
        assert escalation.escalate(now + timedelta(seconds=265)) == 1
        assert Page.objects.count() == 2

    def test_nobody_is_told_again_of_what_has_just_ended(self, cell: Cell, boss: User) -> None:
        """Its alerts are resolved, and it will be once they were quiet for a while."""
        make_escalation(boss, boss)
        one = make_instance(cell=cell)
        fail(one)
        now = timezone.now()
        assert escalation.escalate(now) == 1
        mend(one)
        assert only_incident().state == "triggered"
        assert escalation.escalate(now + timedelta(seconds=61)) == 0

    def test_what_mended_itself_before_anybody_was_told_is_told_once(self, cell: Cell, boss: User) -> None:
        make_escalation(boss, boss)
        one = make_instance(cell=cell)
        fail(one)
        mend(one)
        now = timezone.now()
        assert [escalation.escalate(now + timedelta(seconds=s)) for s in (0, 61, 130)] == [1, 0, 0]


class TestInhibition:
    def test_when_a_cell_is_no_longer_down_what_still_fails_in_it_is_told_of(
        self, cell: Cell, boss: User, instances: Many
    ) -> None:
        """Also where it stands in another incident than the cell's."""
        make_escalation(boss, boss)
        rows = instances(6)
        fail(rows[0])
        with as_system():
            Incident.objects.all().delete()
            other = Incident.objects.create(title="another", cause_key="dependency:x", severity="warning")
        Alert.objects.update(incident=other)
        fail(rows[1:5])
        assert Alert.objects.get(name="CellDown").is_open
        assert not Escalation.objects.filter(incident=other).exists(), "explained by its cell"
        mend(rows[1:5])
        assert not Alert.objects.get(name="CellDown").is_open
        assert Escalation.objects.filter(incident=other, state="active").exists()


class TestComesBack:
    def test_what_comes_back_after_its_incident_leaves_it_its_alert(
        self, cell: Cell, olga: User, instances: Many
    ) -> None:
        """Else an incident that is over would lose its history, and be seen by nobody."""
        (one,) = instances(1)
        fail(one)
        first = only_incident()
        mend(one)
        with time_machine.travel(timezone.now() + timedelta(seconds=60)):
            processing.settle()
            first.refresh_from_db()
            assert first.state == "resolved"
            fail(one)
        old, new = Alert.objects.order_by("id")
        assert (old.incident, old.is_open, new.is_open, new.flaps) == (first, False, True, 1)
        assert new.incident_id not in (None, first.pk)
        assert str(one) in page_of(olga, "alerts:incident", first.pk)

    def test_it_still_is_held_once_it_flaps(self, instances: Many) -> None:
        (one,) = instances(1)
        start = timezone.now()
        for minute in range(4):
            with time_machine.travel(start + timedelta(minutes=minute)):
                fail(one)
            with time_machine.travel(start + timedelta(minutes=minute, seconds=10)):
                mend(one)
            with time_machine.travel(start + timedelta(minutes=minute, seconds=50)):
                processing.settle()
        assert Alert.objects.filter(state="open", flaps=3).count() == 1


def test_nobody_speaks_as_the_security_clock(boss: User) -> None:
    with pytest.raises(services.Refused):
        managing.make_source(name="security clock", kind="webhook", account=None, actor=boss)


def test_who_sees_another_account_sees_nothing_of_it(cell: Cell) -> None:
    fail(make_instance(cell=cell))
    stranger = make_user("stranger")
    grant(stranger, "operator", "account", make_account("far"))
    assert "nobody is told" not in page_of(stranger, "fleet:overview")


class TestMending:
    def ends(self, cell: Cell) -> Incident:
        now = timezone.now()
        Certificate.objects.create(
            instance=make_instance(cell=cell), not_before=now - timedelta(days=80), not_after=now + timedelta(hours=9), key="Ed25519"
        )  # fmt: skip
        certificates.look()
        processing.process_signals()
        return only_incident()

    def test_a_certificate_that_ends_is_rotated_from_the_incident_and_not_restarted(
        self, cell: Cell, boss: User
    ) -> None:
        page = page_of(boss, "alerts:incident", self.ends(cell).pk)
        assert "Rotate certificate" in page and "/act/restart/" not in page

    def test_only_for_who_may(self, cell: Cell) -> None:
        incident = self.ends(cell)
        role = make_role("mends", ["view", "restart"])
        restarter = make_user("restarter")
        grant(restarter, role.name, "account", cell.region.account)
        page = page_of(restarter, "alerts:incident", incident.pk)
        assert "Rotate certificate" not in page and "Run a runbook" in page
