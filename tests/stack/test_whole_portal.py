"""`make up` from nothing to Ctrl-C, as a newcomer does it: real database, web, worker, scheduler and fleet."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from portal.stack.postgres import EmbeddedPostgres
from portal.stack.state import ROOT, State
from portal.stack.supervisor import recall

pytestmark = pytest.mark.chaos
ANNOUNCEMENT = re.compile(r"Daytwo runs at (http://localhost:\d+) — sign in once with (\S+)")


@dataclass
class Running:
    process: subprocess.Popen[bytes]
    state: State
    output: Path
    environment: dict[str, str]

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def address(self) -> str:
        found = ANNOUNCEMENT.search(self.said())
        assert found, self.said()[-3000:]
        return found.group(1)

    def healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address()}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def module(self, name: str) -> str:
        command = [sys.executable, "-m", f"portal.stack.{name}"]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=90, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def wait_for(condition: Callable[[], bool], portal: Running, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, portal.said()[-3000:]
        time.sleep(0.1)


def start(folder: Path) -> Running:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DATABASE_", "PYTEST_", "PORT"))}
    environment |= {"DAYTWO_DATA_DIR": str(folder / "data"), "PYTHONUNBUFFERED": "1"}
    environment.pop("SECRET_KEY", None)
    output = folder / "up.log"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "portal.stack.up"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    portal = Running(process, State(folder / "data"), output, environment)
    wait_for(lambda: bool(ANNOUNCEMENT.search(portal.said())) or process.poll() is not None, portal, 90)
    assert process.poll() is None, portal.said()[-3000:]
    return portal


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="daytwo-up-"))
    path.chmod(0o755)
    yield path
    # Whatever a failure left behind: everything of this portal has its folder on the command line.
    for process in psutil.process_iter(["cmdline"]):
        if any(str(path) in part for part in process.info["cmdline"] or []):
            process.kill()
    shutil.rmtree(path, ignore_errors=True)


def fleet_of(portal: Running) -> set[int]:
    mine = str(portal.state.base / "fleet")
    found = psutil.process_iter(["cmdline"])
    return {p.pid for p in found if any(mine in part for part in p.info["cmdline"] or [])}


def test_up_survives_kills_and_stops_without_touching_the_tenants(folder: Path) -> None:
    portal = start(folder)
    try:
        assert portal.healthy()
        assert portal.address() in portal.module("up")  # the second `make up` says where the first one is

        tenants = fleet_of(portal)
        assert tenants, "the first run seeds a fleet of real processes"

        for name in ("web", "worker", "scheduler"):
            child = recall(portal.state, name)
            assert child is not None, name
            child.kill()
        EmbeddedPostgres(portal.state.postgres).kill()
        wait_for(lambda: all(recall(portal.state, name) for name in ("web", "worker", "scheduler")), portal)
        wait_for(portal.healthy, portal)
        assert "Traceback" not in (portal.state.logs / "system.log").read_text()

        portal.process.send_signal(signal.SIGINT)
        assert portal.process.wait(40) == 0
        assert not portal.healthy()
        assert not EmbeddedPostgres(portal.state.postgres).is_running()
        assert fleet_of(portal) == tenants

        portal = start(folder)
        assert fleet_of(portal) == tenants, "tenants' processes are found again, not started anew"
    finally:
        portal.module("down")
    assert portal.process.wait(40) == 0
    assert fleet_of(portal) == set()
    logs = list(portal.state.logs.glob("*.log"))
    assert logs
    assert [log.name for log in logs if "sesame=" in log.read_text(errors="replace")] == [], (
        "no link is logged"
    )
