"""What is kept of a look at the fleet, and what of it is told."""

import pytest

from apps.core.models import Event
from apps.fleet.choices import Health, Wanted
from apps.fleet.observing import assess, look_begins, record_observations
from apps.fleet.providers.base import Observation
from tests.factories import make_instance

pytestmark = pytest.mark.django_db

DOWN = Observation("stopped", False, "1.0.0", 1, "process 4711 is gone")
WELL = Observation("running", True, "1.0.0", 2)


@pytest.mark.parametrize(
    ("seen", "wanted", "health"),
    [
        (WELL, Wanted.RUNNING, Health.WELL),
        (Observation("running", True, "1", 1, degraded=True), Wanted.RUNNING, Health.DEGRADED),
        (Observation("running", False, "1", 1), Wanted.RUNNING, Health.FAILING),
        (Observation("starting", False, "1", 1), Wanted.RUNNING, Health.STARTING),
        (DOWN, Wanted.RUNNING, Health.FAILING),
        (DOWN, Wanted.STOPPED, Health.STOPPED),
        (Observation("missing", False, "", 0), Wanted.RUNNING, Health.FAILING),
    ],
)
def test_health_is_what_was_seen_against_what_is_wanted(seen: Observation, wanted: str, health: str) -> None:
    assert assess(seen, wanted=wanted).health == health


def test_a_change_is_kept_and_told_once() -> None:
    instance = make_instance()
    for _ in range(3):
        record_observations({instance.pk: DOWN}, since=look_begins())
    instance.refresh_from_db()
    assert (instance.health, instance.health_detail) == (Health.FAILING, "down: process 4711 is gone")
    assert list(Event.objects.filter(kind__startswith="instance.").values_list("kind", "instance_id")) == [
        ("instance.failing", instance.pk)
    ]


def test_a_look_older_than_what_is_kept_changes_nothing() -> None:
    instance = make_instance()
    began = look_begins()
    record_observations({instance.pk: WELL}, since=began)
    record_observations({instance.pk: DOWN}, since=began)
    instance.refresh_from_db()
    assert (instance.health, instance.generation) == (Health.WELL, 2)


def test_a_look_that_finds_nothing_new_writes_nothing() -> None:
    instance = make_instance()
    assert record_observations({instance.pk: WELL}, since=look_begins()) == 1
    assert record_observations({instance.pk: WELL}, since=look_begins()) == 0


def test_being_well_again_is_told() -> None:
    instance = make_instance(health="failing")
    record_observations({instance.pk: WELL}, since=look_begins())
    assert Event.objects.get(instance_id=instance.pk).kind == "instance.well"
