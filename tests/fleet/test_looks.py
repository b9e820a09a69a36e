"""When each instance is looked at next: shared by probers, spread, and left in peace where nothing answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise

import pytest
from django.conf import LazySettings
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.fleet import looks, probing, providers
from apps.fleet.models import Cell, Instance, Probe
from apps.fleet.observing import look_begins, record_observations
from apps.fleet.providers.base import Observation, Target
from apps.fleet.providers.local.provider import LocalProvider
from apps.operations import services
from apps.operations.models import Operation
from tests.factories import as_system, make_cell, make_instance, make_user

WELL, DOWN = Observation("running", True, "1.0.0", 1), Observation("stopped", False, "1.0.0", 1)


class Outside(LocalProvider):
    """Where the world ends: what is seen of each instance is what the test says."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.down: set[int] = set()

    def observe_many(self, targets: object) -> dict[int, Observation]:
        ids = [one.instance_id for one in targets if isinstance(one, Target)]  # type: ignore[attr-defined]
        self.asked += ids
        return {pk: DOWN if pk in self.down else WELL for pk in ids}


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[Outside]:
    made = Outside()
    monkeypatch.setitem(providers._built, "local", made)
    yield made


@pytest.fixture
def cell(db: None) -> Cell:
    return make_cell("here", provider="local")


def instances(cell: Cell, count: int) -> list[int]:
    return [make_instance(cell=cell).pk for _ in range(count)]


def ahead(pk: int) -> float:
    """Seconds until it is due."""
    return (Probe.objects.get(pk=pk).due_at - timezone.now()).total_seconds()


def make_due() -> None:
    Probe.objects.update(due_at=timezone.now() - timedelta(seconds=1))


class TestPauses:
    @pytest.mark.parametrize("failures", [0, 1])
    def test_what_serves_and_a_first_failure_are_seen_again_at_the_usual_pause(self, failures: int) -> None:
        pauses = [looks.pause(failures, 2.0) for _ in range(2_000)]
        assert 1.8 <= min(pauses) < 1.85
        assert 2.15 < max(pauses) <= 2.2

    def test_they_grow_and_end_growing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(looks, "JITTER", (1.0, 1.0))
        pauses = [looks.pause(failures, 2.0) for failures in (1, 2, 3, 4, 5, 6, 10_000)]
        assert pauses == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
        assert all(a <= b for a, b in pairwise(pauses))

    def test_the_dead_of_a_large_fleet_are_not_asked_more_often_than_the_living(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(looks, "JITTER", (1.0, 1.0))
        assert [looks.pause(failures, 50.0) for failures in (0, 1, 9)] == [50.0, 50.0, 50.0]

    def test_the_setting_counts(self, db: None, settings: LazySettings) -> None:
        settings.OPERATIONS_PROBE_SECONDS = 7.0
        assert looks.base_pause() == 7.0

    def test_a_large_fleet_has_longer_ones(self, cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
        instances(cell, 6)
        looks.add_missing()
        monkeypatch.setattr(looks, "RATE", 2)
        assert looks.base_pause() == 3.0


class TestClaims:
    def test_each_instance_that_is_not_simulated_gets_a_row_once(self, cell: Cell) -> None:
        mine = instances(cell, 3)
        make_instance(cell=make_cell("played", provider="simulated"))
        assert (looks.add_missing(), looks.add_missing()) == (3, 0)
        assert sorted(Probe.objects.values_list("pk", flat=True)) == mine
        with as_system():
            Instance.objects.get(pk=mine[0]).delete()
        assert sorted(Probe.objects.values_list("pk", flat=True)) == mine[1:]

    def test_what_is_held_is_not_given_twice_until_the_lease_ends(self, cell: Cell) -> None:
        mine = instances(cell, 2)
        looks.add_missing()
        killed = looks.claim()
        assert sorted(row.instance_id for row in killed.rows) == mine
        assert looks.claim().rows == ()
        Probe.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
        heir = looks.claim()
        assert sorted(row.instance_id for row in heir.rows) == mine
        assert looks.release(killed, failed=mine, base=2.0) == 0  # it was not dead, only slow
        assert set(Probe.objects.values_list("claim", "failures")) == {(heir.token, 0)}
        assert looks.release(heir, failed=[], base=2.0) == 2

    def test_a_lease_is_longer_than_a_batch_in_which_all_hang(self, cell: Cell) -> None:
        assert looks.BATCH / 8 * 2.0 < looks.LEASE

    def test_failures_in_a_row_are_counted_and_forgotten(self, cell: Cell) -> None:
        (one,) = instances(cell, 1)
        looks.add_missing()
        for failures in (1, 2, 3, 4):
            make_due()
            looks.release(looks.claim(), failed=[one], base=2.0)
            assert Probe.objects.get().failures == failures
        assert 10 < ahead(one) < 18
        make_due()
        looks.release(looks.claim(), failed=[], base=2.0)
        assert Probe.objects.get().failures == 0
        assert ahead(one) < 2.3

    @pytest.mark.django_db(transaction=True)
    def test_two_probers_never_hold_the_same_instance(
        self, transactional_db: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(looks, "BATCH", 3)
        mine = instances(make_cell("here", provider="local"), 20)
        looks.add_missing()
        taken: list[int] = []
        begin = threading.Barrier(3)

        def prober() -> None:
            try:
                begin.wait()
                while rows := looks.claim().rows:
                    taken.extend(row.instance_id for row in rows)
            finally:
                connection.close()

        threads = [threading.Thread(target=prober) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # A batch that meets a neighbour's rows may come back short or empty: what is left is the next one's.
        while rows := looks.claim().rows:
            taken.extend(row.instance_id for row in rows)
        assert sorted(taken) == mine


class TestWaking:
    def test_a_turn_of_health_makes_it_due(self, cell: Cell) -> None:
        one, other = instances(cell, 2)
        looks.add_missing()
        Probe.objects.update(due_at=timezone.now() + timedelta(seconds=25))
        record_observations({one: DOWN, other: WELL}, since=look_begins())
        assert ahead(one) <= 0
        assert ahead(other) > 20

    def test_while_it_is_held_a_turn_is_not_forgotten(self, cell: Cell) -> None:
        (one,) = instances(cell, 1)
        looks.add_missing()
        Probe.objects.update(failures=9)
        held = looks.claim()
        looks.wake([one])
        looks.release(held, failed=[one], base=2.0)
        assert ahead(one) <= 2.0

    def test_an_operation_under_way_makes_it_due(self, cell: Cell) -> None:
        one, other = instances(cell, 2)
        looks.add_missing()
        Probe.objects.update(due_at=timezone.now() + timedelta(seconds=25))
        boss = make_user("boss", superuser=True)
        services.submit(kind="restart", target_id=one, actor=boss, reason="it hangs")
        assert looks.wake_operated() == 0  # nothing is done to it yet
        Operation.objects.unrecorded_update(started_at=timezone.now())
        assert looks.wake_operated() == 1
        assert ahead(one) <= 0
        assert ahead(other) > 20
        Operation.objects.unrecorded_update(state="succeeded", finished_at=timezone.now())
        Probe.objects.update(due_at=timezone.now() + timedelta(seconds=25))
        assert looks.wake_operated() == 0


class TestProbing:
    def test_an_empty_fleet(self, db: None, outside: Outside) -> None:
        assert (probing.probe(), probing.help_probe()) == (0, 0)
        assert outside.asked == []

    def test_each_is_looked_at_once_and_told(self, cell: Cell, outside: Outside) -> None:
        mine = instances(cell, 3)
        outside.down = {mine[1]}
        assert (probing.probe(), probing.probe()) == (3, 0)
        assert sorted(outside.asked) == mine
        health = list(Instance.objects.order_by("pk").values_list("health", "probe__failures"))
        assert health == [("well", 0), ("failing", 1), ("well", 0)]
        assert not Probe.objects.filter(claim__isnull=False).exists()
        assert ahead(mine[1]) <= 2.2  # a first failure is looked at again as soon as ever

    @pytest.mark.django_db(transaction=True)
    def test_it_needs_no_transaction_around_it(self, transactional_db: None, outside: Outside) -> None:
        mine = instances(make_cell("here", provider="local"), 2)
        assert probing.probe() == 2
        assert sorted(outside.asked) == mine

    def test_help_is_asked_for_where_more_is_due_than_one_can_hold(
        self, cell: Cell, outside: Outside, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[int] = []
        monkeypatch.setattr(probing, "_ask_for_help", lambda: asked.append(1))
        monkeypatch.setattr(looks, "BATCH", 2)
        mine = instances(cell, 5)
        assert probing.probe() == 5
        assert (sorted(outside.asked), len(asked)) == (mine, probing.HELPERS)
        make_due()
        assert probing.help_probe() == 5  # a helper asks nobody
        assert len(asked) == probing.HELPERS

    def test_help_goes_out_as_messages(self, cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
        from apps.fleet import actors

        sent: list[int] = []
        monkeypatch.setattr(actors.help_probe, "send", lambda: sent.append(1))
        monkeypatch.setattr(transaction, "on_commit", lambda call: call())
        probing._ask_for_help()
        assert sent == [1]

    def test_many_cost_the_queries_of_few(
        self, cell: Cell, outside: Outside, queries: Callable[[Callable[[], object]], int]
    ) -> None:
        def round_() -> int:
            make_due()
            Instance.objects.unrecorded_update(health="failing", observed_at=None)
            with CaptureQueriesContext(connection) as captured:
                probing.probe()
            return len(captured)

        instances(cell, 2)
        round_()
        few = round_()
        instances(cell, 20)
        assert round_() == few
