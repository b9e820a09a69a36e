"""Events go by month once they are old enough; what goes on keeps what its timeline tells."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from apps.alerts import processing
from apps.alerts.models import Incident, IncidentEvent
from apps.core import partitions, retention
from apps.core.models import Event
from apps.core.partitions import EVENTS
from apps.operations.models import Operation
from apps.operations.services import submit
from tests.factories import as_system, make_instance, make_user

NOW = datetime(2032, 6, 15, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def months(transactional_db: None, settings: Any) -> Iterator[None]:
    """Two years of months, and a test that leaves none of them."""
    settings.EVENTS_DAYS = 400
    made = partitions.make(EVENTS, datetime(2030, 6, 1, tzinfo=UTC).date(), ahead=26)
    yield
    with connection.cursor() as cursor:
        for name in set(made) & set(partitions.ranges(EVENTS)):
            cursor.execute(f"DROP TABLE {name}")


def told(days: float, kind: str = "x.happened", **where: Any) -> Event:
    """Something that happened so many days before NOW."""
    return Event.objects.create(
        at=NOW - timedelta(days=days), kind=kind, title=kind, actor=make_user(), **where
    )


def kept() -> set[int]:
    return set(Event.objects.filter(at__gte=NOW - timedelta(days=9_000)).values_list("pk", flat=True))


def test_months_go_as_a_whole_once_their_last_day_is_old_enough() -> None:
    old, edge, new = told(450), told(410), told(10)
    assert retention.oldest_kept(NOW) == datetime(2031, 5, 1, tzinfo=UTC).date()
    # 2030-06 … 2031-04, which ended; May 2031 is kept although its first days are past 400.
    assert retention.let_go(NOW) >= 11
    names = set(partitions.ranges(EVENTS))
    assert "core_event_2031_04" not in names and "core_event_2031_05" in names
    assert kept() == {edge.pk, new.pk}
    assert not Event.objects.filter(pk=old.pk).exists()
    assert retention.let_go(NOW) == 0, "twice is once"


def test_what_no_month_was_made_for_goes_too() -> None:
    old, new = told(2_000), told(1)
    assert partitions.make(EVENTS, old.at.date(), ahead=0) == [], "it lies in the default partition"
    retention.let_go(NOW)
    assert kept() == {new.pk}


def test_an_open_operation_keeps_its_timeline() -> None:
    """And all since; once it is over, it goes like the others."""
    boss = make_user("boss", superuser=True)
    operation = submit(kind="restart", target_id=make_instance().pk, actor=boss, reason="it hangs")
    Operation.objects.filter(pk=operation.pk).unrecorded_update(created_at=NOW - timedelta(days=500))
    asked, before = told(499, operation_id=operation.pk), told(560)
    retention.let_go(NOW)
    assert kept() == {asked.pk} and before.pk
    Operation.objects.filter(pk=operation.pk).unrecorded_update(state="cancelled", finished_at=NOW)
    retention.let_go(NOW)
    assert kept() == set()


def test_an_open_incident_keeps_what_happened_before_it_too() -> None:
    opened = datetime(2031, 2, 1, 0, 5, tzinfo=UTC)
    with as_system():
        incident = Incident.objects.create(title="x", cause_key="x", severity="critical", opened_at=opened)
    suspect = told((NOW - opened).total_seconds() / 86_400 + 0.006)
    assert suspect.at.month == 1, "a quarter of an hour before it the month was another one"
    retention.let_go(NOW)
    assert kept() == {suspect.pk}
    with as_system():
        Incident.objects.filter(pk=incident.pk).update(state="resolved", resolved_at=NOW)
    retention.let_go(NOW)
    assert kept() == set()


def test_links_to_what_is_gone_go_with_it() -> None:
    with as_system():
        incident = Incident.objects.create(
            title="x", cause_key="x", severity="critical", state="resolved", resolved_at=NOW
        )
    for event in (told(500), told(5)):
        IncidentEvent.objects.create(incident=incident, event_id=event.pk)
    retention.let_go(NOW)
    processing.forget()
    assert set(IncidentEvent.objects.values_list("event_id", flat=True)) == kept()


def test_what_the_first_run_laid_out_stays_known() -> None:
    laid, other = told(800, "portal.laid_out.alerts"), told(800, "portal.laid")
    for _ in range(2):
        retention.let_go(NOW)
        assert kept() == {laid.pk} and other.pk
    assert Event.objects.get(pk=laid.pk).at == laid.at


def test_who_does_not_own_the_table_deletes_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "is_owner", lambda parted: False)
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    monkeypatch.setattr(retention, "TIMES", 2)
    new = told(5)
    for _ in range(5):
        told(600)
    assert (retention.let_go(NOW), retention.let_go(NOW)) == (4, 1)
    assert kept() == {new.pk}
    assert "core_event_2030_06" in partitions.ranges(EVENTS)


def test_a_table_that_somebody_holds_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "WAIT", "SET LOCAL lock_timeout = '50ms'")
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN; LOCK TABLE core_event IN ACCESS SHARE MODE")
            assert retention.let_go(NOW) == 0
            cursor.execute("ROLLBACK")
    finally:
        other.close()
    assert retention.let_go(NOW) >= 11


class TestCommand:
    def test_it_makes_and_drops_as_the_owner(self) -> None:
        out = StringIO()
        partitions.make(EVENTS, datetime(2020, 1, 1, tzinfo=UTC).date(), ahead=0)
        call_command("partitions", stdout=out)
        assert "core_event_2020_01" in out.getvalue().split("dropped:")[1]

    def test_it_says_who_has_to_run_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(partitions, "is_owner", lambda parted: False)
        with pytest.raises(CommandError, match="does not own"):
            call_command("partitions")
