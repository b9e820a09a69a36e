"""A rollout survives killed workers: nobody is deployed to twice, none is left out, the policy holds at every moment.

A trigger in the database looks at each change of an operation, so that no moment is missed between two looks.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.stack.postgres import EmbeddedPostgres
from tests.operations.harness import ROOT, Backend

START = """
import sys, django
django.setup()
from apps.access.models import User
from apps.access.services import system_actor
from apps.core.context import acting
from apps.releases.models import Release, Rollout
from apps.releases.rollouts import prepare_rollout, steer
from apps.releases.rules import set_policy
limit, canary, query = int(sys.argv[1]), sys.argv[2], sys.argv[3]
with acting(system_actor("command"), reason="test"):
    boss, _ = User.objects.get_or_create(username="boss", defaults={"is_superuser": True})
    release = Release.objects.create(version="9.9.9", life="released")
set_policy(scope="fleet", object_id=0, max_count=limit, max_percent=None, actor=boss, reason="chaos")
rollout = Rollout(
    release=release, reason="chaos", query=query, canary=canary, growth=3, concurrency=1000, bake_seconds=0
)
prepare_rollout(rollout, actor=boss)
steer(rollout, "start", actor=boss, reason="chaos")
"""

WATCH = """
CREATE TABLE watched (disturbed int, at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO watched (disturbed) SELECT count(*) FROM (
    SELECT target_id FROM operations_operation WHERE is_changing AND state IN ('pending', 'running')
    UNION SELECT id FROM fleet_instance WHERE wanted = 'running' AND health IN ('failing', 'degraded', 'unknown')) d;
  RETURN NULL;
END $$;
CREATE TRIGGER watch AFTER INSERT OR UPDATE ON operations_operation FOR EACH STATEMENT EXECUTE FUNCTION watch();
CREATE TRIGGER watch AFTER UPDATE ON fleet_instance FOR EACH STATEMENT EXECUTE FUNCTION watch();
"""


@pytest.fixture
def backend(own_postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Backend]:
    own_postgres.start()
    made = Backend(own_postgres, tmp_path)
    made.manage("migrate", "-v0")
    yield made
    made.stop()


def execute(backend: Backend, statements: str) -> None:
    import psycopg

    with psycopg.connect(backend.postgres.url, autocommit=True) as connection:
        connection.execute(statements)


def begin(backend: Backend, *, count: int, limit: int, canary: str, query: str = "") -> None:
    backend.manage("seed", "--instances", str(count), "--tenants", str(count))
    execute(
        backend,
        "UPDATE fleet_simulatedinstance SET fault = 'none'; UPDATE fleet_instance SET health = 'well'",
    )
    execute(backend, WATCH)
    command = [sys.executable, "-c", START, str(limit), canary, query]
    subprocess.run(command, cwd=ROOT, env=backend.environment, check=True)


def wait_until(backend: Backend, seconds: float, *states: str) -> str:
    deadline = time.monotonic() + seconds
    while (state := str(backend.one("SELECT state FROM releases_rollout"))) not in states:
        told = backend.rows("SELECT state, why, count(*) FROM releases_rollouttarget GROUP BY 1, 2")
        note = backend.one("SELECT why || note FROM releases_rollout")
        assert time.monotonic() < deadline, f"still {state}: {told}, {note}\n{backend.log()}"
        time.sleep(0.3)
    return state


def storm(backend: Backend, *, count: int, kills: int, limit: int, restarts: int = 0) -> None:
    begin(backend, count=count, limit=limit, canary="5%")
    backend.start()
    restart_at = {kills * (number + 1) // (restarts + 1) for number in range(restarts)}
    for number in range(kills):
        time.sleep(random.uniform(0.3, 1.5))
        backend.kill_a_worker()
        if number in restart_at:
            backend.postgres.restart()
    assert wait_until(backend, 120 + count / 5, "succeeded", "rolled_back", "aborted") == "succeeded"
    assert dict(backend.rows("SELECT state, count(*) FROM releases_rollouttarget GROUP BY 1")) == {
        "done": count
    }
    times = backend.rows(
        "SELECT instance_id FROM fleet_simulatedeffect WHERE kind = 'apply' GROUP BY 1 HAVING count(*) <> 1"
    )
    assert times == [], "deployed twice"
    assert backend.one("SELECT count(*) FROM fleet_simulatedeffect WHERE kind = 'apply'") == count
    assert backend.one("SELECT count(*) FROM fleet_simulatedinstance WHERE version <> '9.9.9'") == 0
    assert 0 < backend.one("SELECT max(disturbed) FROM watched") <= limit
    loose = "SELECT count(*) FROM operations_operation WHERE finished_at IS NULL OR lease_owner <> ''"
    assert backend.one(loose) == 0
    assert backend.one("SELECT count(*) FROM core_event WHERE kind = 'operation.succeeded'") == count


@pytest.mark.chaos
def test_a_rollout_survives_killed_workers(backend: Backend) -> None:
    storm(backend, count=200, kills=10, limit=20, restarts=1)


@pytest.mark.chaos
def test_two_rollouts_at_once_keep_the_policy_under_kills(backend: Backend) -> None:
    """Both over the same fleet, each instance in one of them; both fill the same window."""
    count, limit = 80, 10
    begin(backend, count=count, limit=limit, canary="50%", query="q=sim-i-1")
    second = START.replace("9.9.9", "9.9.8").replace("set_policy(", "(lambda **more: None)(")
    command = [sys.executable, "-c", second, str(limit), "50%", ""]
    subprocess.run(command, cwd=ROOT, env=backend.environment, check=True)
    backend.start()
    for _ in range(4):
        time.sleep(random.uniform(0.3, 1.2))
        backend.kill_a_worker()
    deadline = time.monotonic() + 120
    while ended := backend.one("SELECT count(*) FROM releases_rollout WHERE state <> 'succeeded'"):
        assert time.monotonic() < deadline, f"{ended} have not succeeded\n{backend.log()}"
        time.sleep(0.3)
    assert backend.rows("SELECT state, count(*) FROM releases_rollouttarget GROUP BY 1") == [("done", count)]
    applied = "SELECT count(*), count(DISTINCT instance_id) FROM fleet_simulatedeffect WHERE kind = 'apply'"
    assert backend.rows(applied) == [(count, count)]
    assert 0 < backend.one("SELECT max(disturbed) FROM watched") <= limit


@pytest.mark.chaos
def test_a_faulty_version_touches_the_canary_wave_alone(backend: Backend) -> None:
    count, canary = 60, 4
    begin(backend, count=count, limit=10, canary=str(canary))
    execute(backend, "UPDATE fleet_simulatedinstance SET crash_on_version = '9.9.9'")
    backend.start()
    for _ in range(2):
        time.sleep(random.uniform(0.5, 1.5))
        backend.kill_a_worker()
    assert wait_until(backend, 120, "rolled_back", "succeeded", "aborted") == "rolled_back"
    touched = backend.one(
        "SELECT count(DISTINCT instance_id) FROM fleet_simulatedeffect WHERE version = '9.9.9'"
    )
    assert 0 < touched <= canary
    assert backend.one("SELECT count(*) FROM fleet_simulatedinstance WHERE version = '9.9.9'") == 0


@pytest.mark.chaos_full
def test_a_thousand_instances_survive_a_hundred_kills(backend: Backend) -> None:
    storm(backend, count=1_000, kills=100, limit=50, restarts=3)
