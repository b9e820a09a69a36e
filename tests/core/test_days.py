"""A day of a filter, up to the last one that the calendar has."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from django.test import Client
from django.utils import timezone

from apps.core import days
from tests import factories


def test_a_day_lasts_from_midnight_to_midnight_of_the_readers_clock() -> None:
    with timezone.override("Europe/Berlin"):
        assert days.begins(date(2026, 3, 29)) == datetime(2026, 3, 28, 23, tzinfo=UTC)
        assert days.ends(date(2026, 3, 29)) == datetime(2026, 3, 29, 22, tzinfo=UTC)  # 23 hours


@pytest.mark.django_db
@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "2026-02-30", "x"])
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/Los_Angeles"])
def test_every_list_by_days_bears_the_ends_of_the_calendar(day: str, zone: str) -> None:
    client = Client(raise_request_exception=False)
    root = factories.make_user("root", superuser=True)
    with factories.as_system():
        root.zone = zone
        root.save()
    client.force_login(root, backend="django.contrib.auth.backends.ModelBackend")
    for path in ("/operations/", "/audit/", "/audit/seals/"):
        for name in ("since", "until"):
            assert client.get(path, {name: day}).status_code == 200, (path, name)
