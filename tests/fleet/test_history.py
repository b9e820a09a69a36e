"""The coarse history by days: nothing is lost, retention drops days as a whole, and charts hit the index."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from apps.core import partitions
from apps.core.partitions import EVENTS
from apps.fleet import history
from apps.fleet.history import DAYS, forget_old_measurements, make_days_ahead
from apps.fleet.models import Measurement
from tests.fleet.conftest import World


def where(row: Measurement) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM fleet_measurement WHERE id = %s", [row.pk])
        return str(cursor.fetchone()[0])


def make(world: World, at: datetime) -> Measurement:
    return Measurement.objects.create(instance=world.one, at=at)


def test_a_row_lands_in_its_day(world: World) -> None:
    day = datetime(2031, 3, 31, 23, 59, tzinfo=UTC)
    made = partitions.make(DAYS, day.date(), ahead=1)
    assert made == ["fleet_measurement_2031_03_31", "fleet_measurement_2031_04_01"]
    assert where(make(world, day)) == made[0]
    assert where(make(world, day + timedelta(minutes=1))) == made[1]
    assert partitions.make(DAYS, day.date(), ahead=1) == []


def test_without_its_day_it_is_kept_all_the_same_and_found(world: World) -> None:
    far = datetime(2032, 5, 5, 12, tzinfo=UTC)
    row = make(world, far)
    assert where(row) == "fleet_measurement_default"
    assert list(Measurement.objects.filter(instance=world.one, at__gte=far)) == [row]
    assert partitions.make(DAYS, far.date(), ahead=0) == [], "it would have to take rows from the default one"


def test_retention_drops_days_as_a_whole(world: World, settings: Any) -> None:
    settings.HISTORY_DAYS = 9
    now = datetime(2031, 3, 20, 12, tzinfo=UTC)
    partitions.make(DAYS, (now - timedelta(days=12)).date(), ahead=12)
    old, edge = make(world, now - timedelta(days=11)), make(world, now - timedelta(days=8))
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # as at a commit: what is pending would keep the day
    forget_old_measurements(now)
    assert not Measurement.objects.filter(pk=old.pk).exists()
    assert Measurement.objects.filter(pk=edge.pk).exists()
    names = set(partitions.ranges(DAYS))
    assert "fleet_measurement_2031_03_10" not in names
    assert "fleet_measurement_2031_03_11" in names, "half of it is still kept"


def test_the_setting_says_how_long(world: World, settings: Any) -> None:
    settings.HISTORY_DAYS = 3
    now = timezone.now()
    make(world, now - timedelta(days=4))
    kept = make(world, now - timedelta(days=1))
    assert forget_old_measurements(now) == 1
    assert list(Measurement.objects.all()) == [kept]


def test_days_and_months_are_made_ahead(world: World) -> None:
    make_days_ahead()
    today = timezone.now().astimezone(UTC).date()
    for parted, until in (
        (DAYS, today + timedelta(days=history.AHEAD)),
        (EVENTS, today + timedelta(days=31)),
    ):
        ends = [end for _, end in partitions.ranges(parted).values()]
        assert max(ends) > until
    assert make_days_ahead() == []


def test_who_does_not_own_the_table_makes_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "is_owner", lambda parted: False)
    assert make_days_ahead() == []


def test_a_chart_reads_the_index_of_its_days_alone(world: World) -> None:
    partitions.make(DAYS, datetime(2031, 3, 1, tzinfo=UTC).date(), ahead=3)
    rows = Measurement.objects.filter(
        instance_id__in=[world.one.pk],
        at__gte=datetime(2031, 3, 2, 3, tzinfo=UTC),
        at__lte=datetime(2031, 3, 2, 9, tzinfo=UTC),
    ).order_by("instance_id", "at")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    plan = rows.explain()
    assert "fleet_measurement_2031_03_02" in plan
    assert "Index" in plan
    assert "fleet_measurement_2031_03_03" not in plan
    assert "fleet_measurement_first" not in plan
