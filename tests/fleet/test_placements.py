"""A dedicated instance has one tenant, whoever places the second, and however many do at once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import IntegrityError, connection, transaction

from apps.fleet.models import Instance, Placement
from tests.factories import as_system, make_instance, make_tenant, place

pytestmark = pytest.mark.django_db
REFUSED = "is dedicated, and a dedicated instance has one tenant"


def test_a_second_tenant_is_refused() -> None:
    instance = make_instance("globex-prod")
    place(make_tenant(), instance)
    with pytest.raises(IntegrityError, match=f"globex-prod {REFUSED}"), transaction.atomic(), as_system():
        Placement.objects.create(tenant=make_tenant(), instance=instance)


def test_two_at_once_are_refused() -> None:
    instance = make_instance()
    both = [Placement(tenant=make_tenant(), instance=instance) for _ in range(2)]
    with pytest.raises(IntegrityError, match=REFUSED), transaction.atomic(), as_system():
        Placement.objects.bulk_create(both)


def test_a_placement_is_not_moved_onto_it() -> None:
    instance, other = make_instance(), make_instance()
    place(make_tenant(), instance)
    moved = place(make_tenant(), other)
    moved.instance = instance
    with pytest.raises(IntegrityError, match=REFUSED), transaction.atomic(), as_system():
        moved.save()


def test_one_that_serves_two_does_not_become_dedicated() -> None:
    instance = make_instance(kind="shared")
    for _ in range(2):
        place(make_tenant(), instance)
    instance.kind = "dedicated"
    with pytest.raises(IntegrityError, match=REFUSED), transaction.atomic(), as_system():
        instance.save()


def test_a_shared_one_serves_many() -> None:
    instance = make_instance(kind="shared")
    for _ in range(3):
        place(make_tenant(), instance)
    assert instance.placements.count() == 3


@pytest.mark.django_db(transaction=True)
def test_of_two_transactions_at_once_one_wins() -> None:
    instance = make_instance()
    tenants = [make_tenant(), make_tenant()]
    barrier = Barrier(2)

    def attempt(number: int) -> bool:
        try:
            with transaction.atomic(), as_system():
                barrier.wait(5)
                Placement.objects.create(tenant=tenants[number], instance=instance)
        except IntegrityError:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(attempt, range(2))) == [False, True]
    assert instance.placements.count() == 1


@pytest.mark.django_db(transaction=True)
def test_made_dedicated_while_a_second_comes() -> None:
    instance = make_instance(kind="shared")
    place(make_tenant(), instance)
    tenant, barrier = make_tenant(), Barrier(2)

    def comes() -> bool:
        return _tries(barrier, lambda: Placement.objects.create(tenant=tenant, instance=instance))

    def dedicated() -> bool:
        found = Instance.objects.get(pk=instance.pk)
        found.kind = "dedicated"
        return _tries(barrier, lambda: found.save(update_fields=["kind"]))

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.submit(comes), pool.submit(dedicated)
        assert sorted([one.result(), other.result()]) == [False, True]


def _tries(barrier: Barrier, act: object) -> bool:
    try:
        with transaction.atomic(), as_system():
            barrier.wait(5)
            act()  # type: ignore[operator]
    except IntegrityError:
        return False
    finally:
        connection.close()
    return True
