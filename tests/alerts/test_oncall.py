"""Who is on call, who is told when, and that each is told once."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.access.models import User
from apps.alerts import escalation, managing, overriding, rotations, sending, services
from apps.alerts.forms import OnCallForm
from apps.alerts.models import Channel, Delivery, Escalation, OnCallOverride, OnCallSchedule, Page
from apps.alerts.panels import on_call_lines
from apps.alerts.rotations import Turns, next_handover, place_at, within
from apps.audit.models import AuditEntry
from apps.core.models import Event
from apps.fleet.models import Instance
from tests.alerts.conftest import fail, make_channel, make_escalation, make_recovery, mend, only_incident
from tests.factories import as_system, make_user

Many = Callable[[int], list[Instance]]


@pytest.fixture
def sink() -> Iterator[Any]:
    """A local HTTP service that keeps what it was sent, and answers what it is told to."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            server.got.append(self.rfile.read(length).decode())
            self.send_response(server.status)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server: Any = HTTPServer(("127.0.0.1", 0), Handler)
    server.got, server.status = [], 200
    server.url = f"json://user:hunter2@127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()


class TestTurns:
    BERLIN = Turns("Europe/Berlin", time(9), 7, date(2026, 1, 5), 3)

    def test_each_has_a_turn(self) -> None:
        at = lambda *a: datetime(*a, tzinfo=UTC)  # noqa: E731
        assert place_at(self.BERLIN, at(2026, 1, 5, 7, 59)) is None, "before the first turn"
        assert [place_at(self.BERLIN, at(2026, 1, d, 8)) for d in (5, 12, 19, 26)] == [0, 1, 2, 0]

    def test_the_clock_on_the_wall_counts_when_it_jumps(self) -> None:
        """Handover at 09:00 in Berlin is 08:00 UTC in winter, 07:00 in summer."""
        monday = Turns("Europe/Berlin", time(9), 7, date(2026, 3, 23), 2)
        assert next_handover(monday, datetime(2026, 3, 23, 8, tzinfo=UTC)) == datetime(
            2026, 3, 30, 7, tzinfo=UTC
        )

    @pytest.mark.parametrize("day", [date(2026, 3, 29), date(2026, 10, 25)])
    def test_a_handover_in_the_hour_that_is_skipped_or_comes_twice_happens_once(self, day: date) -> None:
        turns = Turns("Europe/Berlin", time(2, 30), 1, day - timedelta(days=3), 5)
        start = datetime.combine(day, time(0), tzinfo=UTC) - timedelta(hours=2)
        places = [place_at(turns, start + timedelta(minutes=5 * i)) for i in range(12 * 8)]
        changes = [(a, b) for a, b in itertools.pairwise(places) if a != b]
        assert changes == [(2, 3)]

    @given(
        st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC", "Pacific/Apia"]),
        st.times(), st.integers(1, 14), st.integers(1, 5), st.datetimes(datetime(2026, 1, 3), datetime(2027, 1, 1)),
    )  # fmt: skip
    @settings(max_examples=200, deadline=None)
    def test_a_turn_lasts_until_its_handover(
        self, zone: str, at: time, days: int, people: int, now: datetime
    ) -> None:
        turns = Turns(zone, at, days, date(2026, 1, 1), people)
        now = now.replace(tzinfo=UTC)
        here, end = place_at(turns, now), next_handover(turns, now)
        assert here is not None and end > now
        assert place_at(turns, end - timedelta(microseconds=1)) == here
        assert place_at(turns, end) == (here + 1) % people
        assert abs((end - now) - timedelta(days=days)) <= timedelta(days=days, hours=2)

    def test_hours_may_cross_midnight(self) -> None:
        at = datetime(2026, 6, 1, 22, 30, tzinfo=UTC)  # half past midnight in Berlin
        assert within(at, "Europe/Berlin", time(23), time(6))
        assert not within(at, "Europe/Berlin", time(9), time(17))
        assert not within(at, "Europe/Berlin", None, time(17))

    def test_who_stands_in_and_who_has_left(self, boss: User) -> None:
        ann, ben = make_user("ann"), make_user("ben")
        schedule = managing.save_schedule(
            OnCallSchedule(name="p", starts_on=date(2026, 1, 1), days=1), people=[ann, ben], actor=boss
        )
        at = datetime(2026, 1, 1, 12, tzinfo=UTC)
        assert rotations.on_call(schedule, at) == ann
        with as_system():
            OnCallOverride.objects.create(
                schedule=schedule, user=ben, starts_at=at, ends_at=at + timedelta(hours=1), reason="dentist"
            )
            User.objects.filter(pk=ann.pk).update(is_active=False)
        assert rotations.on_call(schedule, at) == ben
        assert rotations.on_call(schedule, at + timedelta(hours=2)) == ben, "ann has left"


@pytest.mark.parametrize("night", [date(2026, 3, 29), date(2026, 10, 25)])
def test_who_stands_in_over_the_night_in_which_the_clock_jumps(boss: User, night: date) -> None:
    """From 01:30 to 03:30 on the wall: one hour in spring, three in autumn; by the instant nobody is on call twice or never."""
    berlin, ann, ben = ZoneInfo("Europe/Berlin"), make_user("ann"), make_user("ben")
    schedule = managing.save_schedule(
        OnCallSchedule(name="p", zone="Europe/Berlin", handover=time(2, 30), starts_on=night - timedelta(days=2), days=1),
        people=[ann, boss], actor=boss,
    )  # fmt: skip
    start, end = (
        datetime.combine(night, at, tzinfo=berlin).astimezone(UTC) for at in (time(1, 30), time(3, 30))
    )
    with time_machine.travel(start - timedelta(days=1)):
        overriding.stand_in(
            schedule=schedule, user=ben, starts_at=start, ends_at=end, reason="dentist", actor=boss
        )
    moments = [start + timedelta(minutes=10 * n) for n in range(-6, 30)]
    on = [rotations.on_call(schedule, at) for at in moments]
    assert [a == ben for a in on] == [start <= at < end for at in moments]
    assert end - start == (timedelta(hours=1) if night.month == 3 else timedelta(hours=3))
    assert {on[0], on[-1]} == {ann, boss}, "the handover that he covered happened meanwhile"
    # What the page says: until when, and who is next.
    assert rotations.changes_at(schedule, start - timedelta(hours=1)) == start
    assert rotations.changes_at(schedule, start) == end or night.month == 10
    assert rotations.changes_at(schedule, end) == rotations.next_handover(
        rotations.turns_of(schedule, [ann, boss]), end
    )


def test_the_page_says_until_when_somebody_stands_in(boss: User) -> None:
    ann, ben = make_user("ann"), make_user("ben")
    schedule = managing.save_schedule(
        OnCallSchedule(name="p", starts_on=date(2026, 1, 1), days=30), people=[ann], actor=boss
    )
    with time_machine.travel(datetime(2026, 1, 5, 12, tzinfo=UTC), tick=False):
        until = timezone.now() + timedelta(hours=2)
        overriding.stand_in(
            schedule=schedule, user=ben, starts_at=timezone.now(), ends_at=until, reason="dentist", actor=boss
        )
        (line,) = on_call_lines()
        assert (line.now, line.until, line.then) == (ben, until, ann)


@pytest.mark.parametrize(
    ("start", "end"),
    [(time(22), None), (None, time(6)), (time(22), time(22))],
    ids=["no end", "no start", "empty"],
)
def test_hours_that_hold_nothing_are_refused(boss: User, start: time | None, end: time | None) -> None:
    with pytest.raises(ValidationError) as refusal:
        make_escalation(boss, boss, quiet_from=start, quiet_until=end)
    assert set(refusal.value.message_dict) == {"quiet_until"}
    with pytest.raises(ValidationError):
        make_recovery(boss, hours_from=start, hours_until=end)


class TestEscalation:
    def test_step_by_step_again_and_no_further(self, boss: User, instances: Many) -> None:
        make_escalation(boss, boss, repeats=1)
        fail(instances(1))
        now = timezone.now()
        assert [escalation.escalate(now + timedelta(seconds=s)) for s in (0, 30, 61, 90, 122, 200)] == [
            1,
            0,
            1,
            0,
            0,
            0,
        ]
        assert Escalation.objects.get().state == "exhausted"
        assert Page.objects.count() == 2
        assert Event.objects.filter(kind="incident.exhausted").count() == 1

    def test_acknowledging_stops_it(self, boss: User, instances: Many) -> None:
        make_escalation(boss, boss)
        fail(instances(1))
        escalation.escalate()
        services.acknowledge(only_incident(), actor=boss)
        assert Page.objects.get().state == "cancelled"
        assert escalation.escalate(timezone.now() + timedelta(hours=1)) == 0
        assert sending.send_pages() == 0

    def test_nobody_on_call_gives_way_to_the_next_step(self, boss: User, instances: Many) -> None:
        policy = make_escalation(boss, boss)
        empty = managing.save_schedule(
            OnCallSchedule(name="empty", starts_on=date(2026, 1, 1)), people=[], actor=boss
        )
        steps = [type(policy.steps.get())(schedule=empty), *policy.steps.all()]
        managing.save_escalation(policy, steps=steps, actor=boss)
        fail(instances(1))
        now = timezone.now()
        assert (escalation.escalate(now), escalation.escalate(now + timedelta(seconds=2))) == (0, 1)
        assert Event.objects.get(kind="incident.unreached").why == "nobody is on call on empty"

    def test_quiet_hours_hold_what_is_not_critical(self, boss: User, instances: Many) -> None:
        make_escalation(boss, boss, quiet_from=time(0), quiet_until=time(23, 59, 59), zone="UTC")
        fail(instances(1))
        incident = only_incident()
        type(incident).objects.filter(pk=incident.pk).unrecorded_update(severity="warning")
        with time_machine.travel(datetime(2027, 1, 1, 12, tzinfo=UTC)):
            assert escalation.escalate() == 0
            type(incident).objects.filter(pk=incident.pk).unrecorded_update(severity="critical")
            assert escalation.escalate(timezone.now() + timedelta(minutes=2)) == 1

    def test_from_which_severity_quiet_hours_hold_is_the_policys_to_say(
        self, boss: User, instances: Many
    ) -> None:
        quiet = {"quiet_from": time(0), "quiet_until": time(23, 59, 59), "quiet_below": "warning"}
        make_escalation(boss, boss, **quiet)
        fail(instances(1))
        rows = type(only_incident()).objects.filter(pk=only_incident().pk)
        rows.unrecorded_update(severity="info")
        with time_machine.travel(datetime(2027, 1, 1, 12, tzinfo=UTC)):
            assert escalation.escalate() == 0
            rows.unrecorded_update(severity="warning")
            assert escalation.escalate(timezone.now() + timedelta(minutes=2)) == 1

    def test_two_workers_take_a_step_once(self, boss: User, instances: Many) -> None:
        make_escalation(boss, boss)
        fail(instances(1))
        now = timezone.now()

        def work(_: int) -> int:
            try:
                return escalation.escalate(now)
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(work, range(8))) == 1
        assert Page.objects.count() == 1


class TestSending:
    def page(self, boss: User, instances: Many, sink: Any, **fields: Any) -> None:
        make_escalation(boss, boss, **fields)
        for channel in Channel.objects.all():
            managing.save_channel(channel, address=sink.url, actor=boss)
        fail(instances(1))
        escalation.escalate()

    def test_it_arrives_once_and_is_told(self, boss: User, instances: Many, sink: Any) -> None:
        self.page(boss, instances, sink)

        def work(_: int) -> int:
            try:
                return sending.send_pages()
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(work, range(8))) == 1
        assert len(sink.got) == 1 and "/alerts/incidents/" in sink.got[0]
        assert (Page.objects.get().state, Delivery.objects.get().is_ok) == ("sent", True)
        assert Event.objects.filter(kind="incident.delivered").exists()

    def test_it_is_tried_again_then_by_the_next_channel_then_by_the_next_step(
        self, boss: User, instances: Many, sink: Any
    ) -> None:
        self.page(boss, instances, sink, channels=2)
        sink.status = 500
        start = timezone.now()
        for seconds in (0, 3, 14, 15, 18, 29, 60):
            with time_machine.travel(start + timedelta(seconds=seconds), tick=False):
                sending.send_pages()
        assert Page.objects.get().state == "failed"
        assert Delivery.objects.filter(is_ok=False, detail="the service answered 500").count() == 6
        assert Delivery.objects.values("channel").distinct().count() == 2
        assert Escalation.objects.get().next_at <= start + timedelta(seconds=60), (
            "the next step is due at once"
        )

    def test_a_worker_that_dies_while_sending_loses_nothing_and_says_so(
        self, boss: User, instances: Many, sink: Any
    ) -> None:
        self.page(boss, instances, sink)
        assert sending.claim() is not None
        assert sending.send_pages() == 0, "it is another's"
        with time_machine.travel(timezone.now() + timedelta(seconds=61), tick=False):
            assert sending.send_pages() == 1
        assert Page.objects.get().may_repeat and "second time" in sink.got[0]

    def test_a_late_answer_of_a_lost_claim_changes_nothing(
        self, boss: User, instances: Many, sink: Any
    ) -> None:
        self.page(boss, instances, sink)
        lost = sending.claim()
        assert lost is not None
        with time_machine.travel(timezone.now() + timedelta(seconds=61), tick=False):
            sending.send_pages()
        sending.keep(lost, None, sending.Outcome(False, "late"))
        assert Page.objects.get().state == "sent"

    @pytest.mark.parametrize("how", ["acknowledged", "resolved", "dead worker"])
    def test_who_acts_between_claim_and_sending_is_not_told(
        self, boss: User, instances: Many, sink: Any, monkeypatch: pytest.MonkeyPatch, how: str
    ) -> None:
        """The page is claimed already: acknowledging cannot cancel it, so the sender looks again."""
        self.page(boss, instances, sink)
        claim = sending.claim

        def claim_then_act() -> Page | None:
            page = claim()
            incident = only_incident()
            if page is not None and incident.state == "triggered":
                if how == "resolved":
                    mend(list(Instance.objects.all()))
                    services.resolve(incident, actor=boss, reason="it is over")
                else:
                    services.acknowledge(incident, actor=boss)
            return page

        if how == "dead worker":
            claim_then_act()
            with time_machine.travel(timezone.now() + timedelta(seconds=61), tick=False):
                assert sending.send_pages() == 0
        else:
            monkeypatch.setattr(sending, "claim", claim_then_act)
            assert sending.send_pages() == 0
        page = Page.objects.get()
        assert (page.state, page.claim, sink.got) == ("cancelled", None, [])
        assert not Delivery.objects.exists()

    def test_acknowledged_while_it_is_sent_it_is_not_tried_again(
        self, boss: User, instances: Many, sink: Any
    ) -> None:
        self.page(boss, instances, sink)
        sink.status = 500
        page = sending.claim()
        assert page is not None and not sending.withdraw(page)
        services.acknowledge(only_incident(), actor=boss)
        sending.keep(page, Channel.objects.get(), sending.Outcome(False, "the service answered 500"))
        with time_machine.travel(timezone.now() + timedelta(seconds=3), tick=False):
            assert sending.send_pages() == 0
        assert (Page.objects.get().state, sink.got) == ("cancelled", [])

    def test_a_test_goes_out_by_the_same_way(self, boss: User, sink: Any) -> None:
        channel = make_channel(boss, "mine", sink.url, owner=boss)
        managing.test_channel(channel, actor=boss)
        sending.send_pages()
        assert "tests the channel" in sink.got[0]
        assert managing.is_over(managing.last_tests([channel])[channel.pk])


class TestSecrets:
    def test_an_address_stands_nowhere(self, boss: User, sink: Any, caplog: pytest.LogCaptureFixture) -> None:
        sink.status = 401
        channel = make_channel(boss, "mine", sink.url, owner=boss)
        with caplog.at_level("DEBUG"):
            managing.test_channel(channel, actor=boss)
            sending.send_pages()
        kept = [
            caplog.text,
            str(list(AuditEntry.objects.values())),
            str(list(Delivery.objects.values())),
            str(list(Page.objects.values())),
            str(list(Channel.objects.values())),
        ]
        assert not [text for text in kept if "hunter2" in text]

    @pytest.mark.parametrize(
        "address", ["hunter2", "file:///etc/passwd", "dbus://hunter2", "slack://hunter2"]
    )
    def test_what_cannot_be_used_is_refused_and_not_repeated(self, boss: User, address: str) -> None:
        with pytest.raises(services.Refused) as refusal:
            make_channel(boss, "mine", address)
        assert "hunter2" not in str(refusal.value)

    def test_an_address_from_the_environment(
        self, boss: User, sink: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        channel = make_channel(boss, "team", "env:DAYTWO_CHANNEL_OPS")
        assert sending.send_by(channel, "t", "b").detail == (
            "The environment variable DAYTWO_CHANNEL_OPS is not set for this process."
        )
        monkeypatch.setenv("DAYTWO_CHANNEL_OPS", sink.url)
        assert sending.send_by(channel, "t", "b").is_ok
        with pytest.raises(services.Refused):
            make_channel(boss, "other", "env:SECRET_KEY")


def test_who_makes_a_schedule_at_night_has_somebody_on_call_at_once(boss: User) -> None:
    """What the form proposes as the first day is one whose handover has passed."""
    night = datetime(2026, 1, 5, 3, tzinfo=UTC)
    with time_machine.travel(night, tick=False):
        first = OnCallForm().initial["starts_on"]
        schedule = managing.save_schedule(
            OnCallSchedule(name="made at night", starts_on=first), people=[boss], actor=boss
        )
        assert rotations.on_call(schedule, night) == boss
