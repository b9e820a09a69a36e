"""Usage is counted from what the fleet measured."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from apps.cost.models import Usage
from apps.cost.usage import count_usage, grown
from apps.fleet.models import Measurement
from tests import factories

DAY = date(2026, 9, 5)


def test_a_counter_that_fell_began_again() -> None:
    assert grown([100, 130, 5, 9]) == 39
    assert grown([]) == grown([7]) == 0


@pytest.mark.django_db
def test_a_shared_instance_is_its_tenants_in_equal_parts_and_a_day_is_counted_once() -> None:
    a, b = factories.make_tenant("a"), factories.make_tenant("b")
    alone, shared = factories.make_instance(), factories.make_instance(kind="shared")
    for tenant, instance in ((a, alone), (a, shared), (b, shared)):
        factories.place(tenant, instance)
    for instance, minute, requests in ((alone, 1, 10), (alone, 2, 25), (shared, 1, 100), (shared, 2, 150)):
        at = datetime(2026, 9, 5, 12, minute, tzinfo=UTC)
        Measurement.objects.create(instance=instance, at=at, requests=requests, cpu=0)
    count_usage(DAY)
    count_usage(DAY)
    found = dict(Usage.objects.filter(driver="requests").values_list("tenant__key", "amount"))
    assert found == {"a": Decimal(40), "b": Decimal(25)}
