"""The clock was wrong for a while and is put right: what was put off meanwhile is not put off until it is that time again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from apps.access.models import User
from apps.alerts import escalation, heartbeats, managing, processing, recovery, sending
from apps.alerts.models import Alert, Heartbeat, Page
from apps.fleet.models import Instance
from apps.operations.models import Operation
from tests.alerts.conftest import fail, make_escalation, make_recovery, mend, only_incident, recover

Many = Callable[[int], list[Instance]]
#: How far ahead the clock was.
AHEAD = timedelta(days=3)


@pytest.fixture
def one(instances: Many) -> Instance:
    return instances(1)[0]


def wrong() -> time_machine.travel:
    return time_machine.travel(timezone.now() + AHEAD)


def test_a_step_that_was_put_off_is_taken(boss: User, one: Instance) -> None:
    make_escalation(boss, boss)
    with wrong():
        fail(one)
        assert escalation.escalate() == 1
    assert escalation.escalate() == 1, "and not only in three days"
    assert escalation.escalate() == 0, "the next one waits for its time"


def test_a_page_that_was_to_be_tried_again_is_tried(boss: User, one: Instance) -> None:
    make_escalation(boss, boss)
    fail(one)
    escalation.escalate()
    with wrong():
        assert sending.send_pages() == 1, "nobody listens there"
        assert Page.objects.get().state == "pending"
    assert sending.send_pages() == 1


def test_a_page_that_a_dead_worker_held_is_sent(boss: User, one: Instance) -> None:
    make_escalation(boss, boss)
    fail(one)
    escalation.escalate()
    with wrong():
        assert sending.claim() is not None
    page = sending.claim()
    assert page is not None and page.may_repeat


def test_a_flapping_alert_and_its_incident_come_to_an_end(one: Instance) -> None:
    with wrong():
        for _ in range(4):
            fail(one)
            mend(one)
        assert Alert.objects.get().resolve_after is not None
    processing.settle()
    assert not Alert.objects.get().is_open
    assert Alert.objects.get().resolved_at <= timezone.now()
    with time_machine.travel(timezone.now() + timedelta(seconds=40)):
        processing.settle()
    assert only_incident().state == "resolved"


def test_an_incident_that_was_quiet_then_is_over(one: Instance) -> None:
    with wrong():
        fail(one)
        mend(one)
    processing.settle()
    assert only_incident().state == "resolved"


def test_a_heartbeat_that_was_heard_of_then_is_missed_now(boss: User) -> None:
    made, token = managing.make_heartbeat(Heartbeat(name="backup", every=60, grace=30), actor=boss)
    with wrong():
        assert heartbeats.beat(token)
    assert heartbeats.look() == 0
    with time_machine.travel(timezone.now() + timedelta(seconds=95)):
        assert heartbeats.look() == 1
    made.refresh_from_db()
    assert made.is_late


def test_recovery_stays_on_the_safe_side(boss: User, one: Instance) -> None:
    """An answer of the future holds the next one back: never more answers than the limits allow."""
    make_recovery(boss, tries=1, cooldown=0)
    with wrong():
        fail(one)
        assert recover() == 1
    Operation.objects.update(state="failed", finished_at=timezone.now(), error="x")
    recovery.see_results()
    assert recover() == 0
