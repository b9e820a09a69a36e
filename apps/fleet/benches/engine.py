"""The engine: whole lives a second, bulk acceptance, time to the first step; and the bare queue beside it."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
from django.conf import settings
from django.db import connection
from psycopg.conninfo import make_conninfo

from apps.access.models import User
from apps.access.services import system_actor
from apps.audit.models import AuditEntry
from apps.core.context import acting
from apps.operations import runner, services
from apps.operations.models import Operation

from ..models import Instance
from ..seeding import seed, seeded
from .figures import Figure

COUNT = 6_000
FLEET = 8_000


def boss() -> User:
    """A superuser of the bench."""
    with acting(system_actor("command"), reason="bench", via="command"):
        user: User = User.objects.get_or_create(username="bench-boss", defaults={"is_superuser": True})[0]
    return user


def _fleet(count: int) -> list[int]:
    if (lacking := FLEET - seeded()) > 0:
        seed(instances=lacking, tenants=max(1, lacking // 5), actor=system_actor("command"))
    rows = Instance.objects.filter(name__startswith="sim-i-", health="well", wanted="running").order_by("pk")
    return list(rows.values_list("pk", flat=True)[:count])


WORKER = "import django; django.setup(); from apps.fleet.benches.engine import work; work()"


def work() -> None:
    """A worker process of the bench: the very loop that Dramatiq's actor runs. Says when it is ready."""
    runner.run_due()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        if not runner.run_due():
            time.sleep(0.005)


def operations() -> Iterator[Figure]:
    """Whole lives a second on two worker processes: submit, audit, lease, two steps, events, end."""
    ids, actor = _fleet(COUNT), boss()
    nudge, services.nudge = (
        services.nudge,
        lambda count=1: None,
    )  # the workers of this bench look by themselves
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER],
            cwd=settings.BASE_DIR,
            env=dict(os.environ),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for worker in workers:
        if worker.stdout is None or worker.stdout.readline().strip() != "ready":
            raise RuntimeError("a worker of the bench did not start")
    began = time.perf_counter()
    try:
        for first in range(0, len(ids), 500):
            services.submit_many(
                kind="stop", target_ids=ids[first : first + 500], params={}, actor=actor, reason="bench"
            )
        while Operation.objects.open().exists():
            time.sleep(0.05)
    finally:
        took = time.perf_counter() - began
        services.nudge = nudge
        for worker in workers:
            worker.kill()
            worker.wait()
    ended = dict(
        connection_rows("SELECT state, count(*) FROM operations_operation WHERE reason = 'bench' GROUP BY 1")
    )
    if set(ended) != {"succeeded"}:
        raise RuntimeError(f"not every operation succeeded: {ended}")
    rate = len(ids) / took
    yield Figure("operations, whole life", rate, "a second", at_least=500)
    one, ten = bare_queue(1), bare_queue(10)
    yield Figure("bare SKIP LOCKED, one by one", one, "a second")
    yield Figure("bare SKIP LOCKED, ten by ten", ten, "a second")
    yield Figure("operations against bare SKIP LOCKED one by one", rate / one, "times")


def bare_queue(batch: int) -> float:
    """Jobs a second that a table with nothing else claims and completes on one connection."""
    count = 4_000
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bench_job")
        cursor.execute(
            "CREATE TABLE bench_job (id bigserial PRIMARY KEY, state text NOT NULL DEFAULT 'pending')"
        )
        cursor.execute("INSERT INTO bench_job (state) SELECT 'pending' FROM generate_series(1, %s)", [count])
        cursor.execute("CREATE INDEX ON bench_job (id) WHERE state = 'pending'")
    began = time.perf_counter()
    claim = (
        "UPDATE bench_job SET state = 'running' WHERE id IN (SELECT id FROM bench_job WHERE state = 'pending' "
        "ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING id"
    )
    with psycopg.connect(make_conninfo(**_libpq()), autocommit=True) as raw:
        while ids := [row[0] for row in raw.execute(claim, [batch]).fetchall()]:
            raw.execute("UPDATE bench_job SET state = 'done' WHERE id = ANY(%s)", [ids])
    took = time.perf_counter() - began
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE bench_job")
    return count / took


def _libpq() -> dict[str, str]:
    database = settings.DATABASES["default"]
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    return {libpq: str(database[key]) for key, libpq in names.items() if database.get(key)}


def connection_rows(query: str) -> list[tuple[str, int]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return [(str(state), int(count)) for state, count in cursor.fetchall()]


def bulk() -> Iterator[Figure]:
    """One action on 1,000 instances, accepted: operations, audit entries and events committed."""
    ids, actor = _fleet(1_000), boss()
    nudge, services.nudge = services.nudge, lambda count=1: None
    before = AuditEntry.objects.count()
    began = time.perf_counter()
    try:
        done = services.submit_many(
            kind="restart", target_ids=ids, params={}, actor=actor, reason="bench bulk"
        )
    finally:
        services.nudge = nudge
    took = time.perf_counter() - began
    if len(done.operations) != 1_000 or AuditEntry.objects.count() - before != 1_000:
        raise RuntimeError("not every operation and audit entry was committed")
    yield Figure("bulk action on 1,000 instances, accepted", took, "s", at_most=2)
    runner.run_due()


def latency() -> Iterator[Figure]:
    """From the end of submit to the claim of the first step, with a real queue and an idle worker."""
    ids, actor = _fleet(40), boss()
    root = Path(settings.BASE_DIR)
    command = [
        str(Path(sys.executable).parent / "dramatiq"),
        "portal.worker",
        "--processes",
        "1",
        "--threads",
        "4",
    ]
    worker = subprocess.Popen(
        [*command, "--skip-logging"], cwd=root, env=dict(os.environ), start_new_session=True
    )
    try:
        took = []
        for number, pk in enumerate(ids):
            operation = services.submit(kind="restart", target_id=pk, actor=actor, reason="bench latency")
            submitted = time.time()
            began = _first_start(operation.pk)
            if number >= 5:  # the first ones wait for the worker to boot
                took.append((began - submitted) * 1000)
            time.sleep(0.15)
    finally:
        worker.terminate()
        worker.wait()
    yield Figure("submit to first step, idle, median", max(0.0, statistics.median(took)), "ms", at_most=50)
    yield Figure("submit to first step, idle, 95th percentile", statistics.quantiles(took, n=20)[-1], "ms")


def _first_start(pk: int) -> float:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        started = (
            Operation.objects.filter(pk=pk, started_at__isnull=False)
            .values_list("started_at", flat=True)
            .first()
        )
        if started is not None:
            return started.timestamp()
        time.sleep(0.005)
    raise RuntimeError("the worker did not take the operation up within 30 s")
