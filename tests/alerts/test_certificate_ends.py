"""A certificate's end is told in three stages, and no more than once each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.alerts import certificates, processing
from apps.alerts.models import Alert, Page
from apps.fleet.models import Certificate, Instance
from tests.factories import as_system

Many = Callable[[int], list[Instance]]


def tell(after: timedelta = timedelta()) -> int:
    said = certificates.look(timezone.now() + after)
    processing.process_signals()
    return said


@pytest.fixture
def row(instances: Many) -> Certificate:
    now = timezone.now()
    return Certificate.objects.create(
        instance=instances(1)[0],
        not_before=now - timedelta(days=10),
        not_after=now + timedelta(days=40),
        key="Ed25519",
    )


def test_thirty_seven_and_one_days_before(row: Certificate) -> None:
    assert tell() == 0
    for days, severity, words in (
        (15, "info", "within 30 days"),
        (34, "warning", "within 7 days"),
        (39.5, "critical", "within 1 day"),
        (41, "critical", "has ended"),
    ):
        assert tell(timedelta(days=days)) == 1
        assert tell(timedelta(days=days)) == 0, "once for a stage"
        alert = Alert.objects.get()
        assert (alert.severity, alert.is_open) == (severity, True)
        assert words in alert.summary


def test_a_renewed_one_is_over(row: Certificate) -> None:
    tell(timedelta(days=39))
    Certificate.objects.update(not_after=timezone.now() + timedelta(days=200))
    assert tell(timedelta(days=39)) == 1
    assert not Alert.objects.get().is_open


def test_thirty_days_wake_nobody(row: Certificate) -> None:
    tell(timedelta(days=15))
    assert not Page.objects.exists()


def test_who_is_stopped_on_purpose_is_not_told_of(row: Certificate) -> None:
    with as_system():
        Instance.objects.filter(pk=row.pk).update(wanted="stopped")
    assert tell(timedelta(days=39)) == 0


def test_a_short_life_is_told_on_its_last_day_and_is_over_when_renewed(row: Certificate) -> None:
    now = timezone.now()
    Certificate.objects.update(not_before=now, not_after=now + timedelta(days=6))
    assert tell() == 0, "a new one of six days is no news"
    assert tell(timedelta(days=5.5)) == 1
    assert Alert.objects.get().severity == "critical"
    Certificate.objects.update(not_before=now + timedelta(days=5), not_after=now + timedelta(days=11))
    assert tell(timedelta(days=5.5)) == 1
    assert not Alert.objects.get().is_open
