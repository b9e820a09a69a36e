"""A portal's back end for tests that kill things: a database of its own, real workers, a real scheduler."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg

from portal.stack.postgres import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[2]

SUBMIT = """
import sys, django
django.setup()
from apps.access.models import User
from apps.access.services import system_actor
from apps.core.context import acting
from apps.fleet.models import Instance
from apps.operations.services import submit_many
kinds, count = sys.argv[1].split(","), int(sys.argv[2])
with acting(system_actor("command"), reason="test"):
    boss, _ = User.objects.get_or_create(username="boss", defaults={"is_superuser": True})
ids = list(Instance.objects.order_by("pk").values_list("pk", flat=True)[:count])
for kind in kinds:
    done = submit_many(kind=kind, target_ids=ids, params={}, actor=boss, reason="chaos", idempotency_key=f"chaos-{kind}")
    assert len(done.operations) == count, done.refused[:3]
"""


class Backend:
    """Workers and a scheduler over a database that may be killed. Always `stop` it."""

    def __init__(self, postgres: EmbeddedPostgres, folder: Path, *, lease: float = 3.0) -> None:
        self.postgres, self.folder = postgres, folder
        self.environment = {
            **os.environ,
            "DATABASE_URL": postgres.url,
            "DRAMATIQ_BROKER_URL": "",
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "PYTHONPATH": str(ROOT),
            "DAYTWO_DATA_DIR": str(folder / "data"),
            "OPERATIONS_LEASE_SECONDS": str(lease),
            "OPERATIONS_BATCH": "20",
            "LOG_LEVEL": "WARNING",
        }
        self.workers: list[subprocess.Popen[bytes]] = []
        self.scheduler: subprocess.Popen[bytes] | None = None
        self._log = (folder / "backend.log").open("ab")

    def manage(self, *arguments: str) -> None:
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3_000:]

    def submit(self, kinds: str, count: int) -> None:
        """Ask for each of the comma-separated kinds on the first `count` instances."""
        subprocess.run(
            [sys.executable, "-c", SUBMIT, kinds, str(count)], cwd=ROOT, env=self.environment, check=True
        )

    def start(self, workers: int = 2) -> None:
        while len(self.workers) < workers:
            self.workers.append(self._spawn(self._dramatiq()))
        if self.scheduler is None:
            self.scheduler = self._spawn([sys.executable, "manage.py", "run_scheduler"])

    def _dramatiq(self) -> list[str]:
        dramatiq = str(Path(sys.executable).parent / "dramatiq")
        return [dramatiq, "portal.worker", "--processes", "1", "--threads", "2", "--skip-logging"]

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.environment,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def kill_a_worker(self) -> None:
        """SIGKILL one worker with all its processes, at whatever instruction it is, and start another."""
        victim = self.workers.pop(random.randrange(len(self.workers)))
        os.killpg(victim.pid, signal.SIGKILL)
        victim.wait()
        self.workers.append(self._spawn(self._dramatiq()))

    def stop(self) -> None:
        for process in [*self.workers, *([self.scheduler] if self.scheduler else [])]:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.workers, self.scheduler = [], None
        self._log.close()

    # --- asking the database ------------------------------------------------------------------

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.postgres.url, autocommit=True, connect_timeout=5) as connection:
            return connection.execute(query).fetchall()

    def one(self, query: str) -> Any:
        return self.rows(query)[0][0]

    def open(self) -> int:
        return int(self.one("SELECT count(*) FROM operations_operation WHERE finished_at IS NULL"))

    def wait_until_ended(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.open():
            if time.monotonic() > deadline:
                left = self.rows(
                    "SELECT id, kind, state, step, lost, attempts, lease_until, error FROM operations_operation "
                    "WHERE finished_at IS NULL ORDER BY id LIMIT 5"
                )
                raise AssertionError(
                    f"{self.open()} operations have not ended after {seconds:g} s: {left}\n{self.log()}"
                )
            time.sleep(0.2)

    def log(self) -> str:
        return (self.folder / "backend.log").read_text(errors="replace")[-3_000:]
