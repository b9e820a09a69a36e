"""Changes survive anything: killed workers, a restarted database, an emptied queue.

In CI at a size that two cores bear; `make chaos` runs the same at full size.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.stack.postgres import EmbeddedPostgres

from .harness import Backend


@pytest.fixture
def backend(own_postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Backend]:
    own_postgres.start()
    made = Backend(own_postgres, tmp_path)
    made.manage("migrate", "-v0")
    yield made
    made.stop()


def assert_nothing_lost_and_nothing_twice(backend: Backend, expected: int) -> None:
    """Every operation ended well; each changed its instance exactly once; no lease is left."""
    assert dict(backend.rows("SELECT state, count(*) FROM operations_operation GROUP BY state")) == {
        "succeeded": expected
    }
    twice = backend.rows(
        "SELECT instance_id, kind, count(*) FROM fleet_simulatedeffect GROUP BY 1, 2 HAVING count(*) <> 1"
    )
    assert twice == []
    assert backend.one("SELECT count(*) FROM fleet_simulatedeffect") == expected
    assert (
        backend.one(
            "SELECT count(*) FROM operations_operation WHERE lease_until IS NOT NULL OR lease_owner <> ''"
        )
        == 0
    )
    assert backend.one("SELECT count(*) FROM core_event WHERE kind = 'operation.succeeded'") == expected
    ended_twice = backend.rows(
        "SELECT operation_id FROM core_event WHERE kind = 'operation.succeeded' GROUP BY 1 HAVING count(*) > 1"
    )
    assert ended_twice == []


def storm(backend: Backend, *, count: int, kills: int, restarts: int) -> None:
    """`count` operations (half restarts, half stops of the same instances) under kills and restarts."""
    half = count // 2
    backend.manage("seed", "--instances", str(half), "--tenants", "5")
    backend.rows("UPDATE fleet_simulatedinstance SET fault = 'none' RETURNING 1")
    backend.submit("restart,stop", half)
    backend.start()
    restart_at = {kills * (number + 1) // (restarts + 1) for number in range(restarts)}
    for number in range(kills):
        time.sleep(random.uniform(0.1, 1.2))
        backend.kill_a_worker()
        if number in restart_at:
            backend.postgres.restart()
    backend.wait_until_ended(seconds=60 + count / 5)
    assert_nothing_lost_and_nothing_twice(backend, count)
    assert backend.one("SELECT count(*) FROM fleet_simulatedinstance WHERE state <> 'stopped'") == 0


@pytest.mark.chaos
def test_operations_survive_killed_workers_and_a_restarted_database(backend: Backend) -> None:
    storm(backend, count=200, kills=6, restarts=1)


@pytest.mark.chaos_full
def test_a_thousand_operations_survive_fifty_kills_and_three_restarts(backend: Backend) -> None:
    storm(backend, count=1_000, kills=50, restarts=3)


@pytest.mark.chaos
def test_an_emptied_queue_loses_nothing(backend: Backend) -> None:
    backend.manage("seed", "--instances", "60", "--tenants", "5")
    backend.rows("UPDATE fleet_simulatedinstance SET fault = 'slow', fault_value = 0.5 RETURNING 1")
    backend.submit("restart", 60)
    backend.start()
    for _ in range(5):
        backend.rows("DELETE FROM dramatiq.queue RETURNING 1")
        time.sleep(0.3)
    backend.wait_until_ended(seconds=60)
    assert_nothing_lost_and_nothing_twice(backend, 60)


@pytest.mark.chaos
def test_a_database_away_is_waited_for(backend: Backend) -> None:
    """Away in mid-flight for longer than a lease: workers and scheduler come back without a restart by hand."""
    backend.manage("seed", "--instances", "40", "--tenants", "5")
    backend.rows("UPDATE fleet_simulatedinstance SET fault = 'slow', fault_value = 1 RETURNING 1")
    backend.start()
    backend.submit("restart", 40)
    time.sleep(0.5)
    backend.postgres.stop()
    time.sleep(5)
    assert all(worker.poll() is None for worker in backend.workers)
    assert backend.scheduler is not None
    assert backend.scheduler.poll() is None
    backend.postgres.start()
    backend.wait_until_ended(seconds=60)
    assert_nothing_lost_and_nothing_twice(backend, 40)
