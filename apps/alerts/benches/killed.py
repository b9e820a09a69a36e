"""A tenant's process is killed on the local fleet: how long until a page tells, until somebody was told, until it serves again."""

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from django.conf import settings
from django.test import Client
from django.urls import reverse

from apps.access.models import User
from apps.access.services import system_actor
from apps.core.context import acting
from apps.fleet import providers
from apps.fleet.benches.figures import Figure
from apps.fleet.bootstrap import bootstrap
from apps.fleet.choices import Health
from apps.fleet.models import Instance
from apps.fleet.providers.local.files import read_boot
from apps.fleet.providers.local.provider import LocalProvider

from .. import managing
from ..choices import OPEN_INCIDENT
from ..models import Channel, EscalationPolicy, EscalationStep, Incident, OnCallSchedule, RecoveryPolicy

#: How often a process is killed, DAYTWO_BENCH_KILLS says otherwise; and seconds until a kill counts as unanswered.
KILLS, PATIENCE = 7, 90.0
#: Seconds between two looks of the overview's live part (`data-live` in its template).
LOOK = 2.0
#: An incident resolves so many seconds after its alerts did, so that the next kill is one of its own.
QUIET = 2


class Sink:
    """What a channel would reach: keeps what it was told, and when."""

    def __init__(self) -> None:
        self.told: list[tuple[float, str]] = []
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                sink.told.append((time.monotonic(), str(json.loads(body).get("message", body))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def heard_of(self, name: str, since: float) -> float | None:
        """When it was first told of something after a moment."""
        return next((at for at, text in self.told if at >= since and name in text), None)


def killed() -> Iterator[Figure]:
    """Kill one process after the other under a running worker and scheduler."""
    provider = providers.get("local")
    assert isinstance(provider, LocalProvider)  # noqa: S101 - the registry says so
    bootstrap()
    sink = Sink()
    _prepare(sink)
    portal = _start()
    try:
        names = _well()
        told, recovered = [], []
        for n in range(int(os.environ.get("DAYTWO_BENCH_KILLS", KILLS))):
            one, two = _kill(provider, names[n % len(names)], sink)
            told.append(one)
            recovered.append(two)
        yield Figure("killed until somebody was told, median", statistics.median(told), "s", at_most=10)
        yield Figure("… the slowest", max(told), "s")
        yield Figure("killed until it serves again, median", statistics.median(recovered), "s", at_most=20)
        yield Figure("… the slowest", max(recovered), "s")
        yield Figure("pages for each kill", len(sink.told) / len(told), "", at_most=1, at_least=1)
        shown = _shown(provider, names)
        yield Figure(
            "killed until the open overview shows it, median", statistics.median(shown), "s", at_most=5
        )
        yield Figure("… the slowest", max(shown), "s", at_most=5)
    finally:
        for process in portal:
            process.terminate()
        for process in portal:
            process.wait()
        provider.stop_all()
        sink.server.shutdown()


def _prepare(sink: Sink) -> None:
    with acting(system_actor("command"), reason="bench", via="command"):
        boss = User.objects.get_or_create(username="bench-boss", defaults={"is_superuser": True})[0]
    url = f"json://127.0.0.1:{sink.server.server_port}/"
    managing.save_channel(Channel(name="sink", owner=boss), address=url, actor=boss)
    turns = OnCallSchedule(name="killed", starts_on=date(2026, 1, 1))
    turns = managing.save_schedule(turns, people=[boss], actor=boss)
    steps = [EscalationStep(schedule=turns, wait=3_600)]
    managing.save_escalation(EscalationPolicy(name="killed"), steps=steps, actor=boss)
    policy = RecoveryPolicy(name="restart what fails", cooldown=0, tries=50, per_cell=200, per_fleet=500)
    managing.save_recovery(policy, actor=boss)


def _start() -> list[subprocess.Popen[bytes]]:
    here = Path(sys.executable).parent
    commands = [
        [str(here / "dramatiq"), "portal.worker", "--processes", "1", "--threads", "4", "--skip-logging"],
        [sys.executable, "manage.py", "run_scheduler"],
    ]
    quiet = subprocess.DEVNULL
    environment = {**os.environ, "ALERTS_QUIET_SECONDS": str(QUIET)}
    return [
        subprocess.Popen(
            c, cwd=settings.BASE_DIR, env=environment, stdout=quiet, stderr=quiet, start_new_session=True
        )
        for c in commands
    ]


def _well() -> list[str]:
    """Names of the local fleet's instances, once all of them serve and nothing goes on."""
    rows = Instance.objects.filter(cell__provider="local").order_by("name")
    _wait(lambda: rows.exists() and not rows.exclude(health=Health.WELL).exists(), "the local fleet to serve")
    _wait(lambda: not Incident.objects.filter(state__in=OPEN_INCIDENT).exists(), "a quiet fleet")
    return list(rows.values_list("name", flat=True))


def _kill(provider: LocalProvider, name: str, sink: Sink) -> tuple[float, float]:
    """Seconds until the sink was told of it, and until the portal sees the next boot serve."""
    before = Instance.objects.get(name=name).generation
    at = time.monotonic()
    boot = read_boot(provider.root / "instances" / name)
    assert boot is not None  # noqa: S101 - it serves
    os.kill(boot.pid, signal.SIGKILL)
    well = Instance.objects.filter(name=name, health=Health.WELL, generation__gt=before)
    _wait(well.exists, f"{name} to serve again")
    recovered = time.monotonic() - at
    _wait(lambda: sink.heard_of(name, at) is not None, f"somebody to be told of {name}")
    _wait(lambda: not Incident.objects.filter(state__in=OPEN_INCIDENT).exists(), "the incident to resolve")
    return (sink.heard_of(name, at) or at) - at, recovered


def _shown(provider: LocalProvider, names: list[str]) -> list[float]:
    """Seconds until an overview that stands open shows one of them down, each in turn. Nothing restarts it meanwhile."""
    client = Client()
    with acting(system_actor("command"), reason="bench", via="command"):
        boss = User.objects.get(username="bench-boss")
        client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
        shown = []
        for name in names:
            RecoveryPolicy.objects.update(is_enabled=False)
            shown.append(_look_until_shown(client, provider, name))
            RecoveryPolicy.objects.update(is_enabled=True)
            _well()
    return shown


def _look_until_shown(client: Client, provider: LocalProvider, name: str) -> float:
    boot = read_boot(provider.root / "instances" / name)
    assert boot is not None  # noqa: S101 - it serves
    time.sleep(random.uniform(0, LOOK))  # noqa: S311 - a kill falls anywhere between two looks
    at = time.monotonic()
    os.kill(boot.pid, signal.SIGKILL)
    headers = {"Host": "localhost", "HX-Request": "true", "X-Daytwo-Live": "1"}
    looks = random.uniform(0, LOOK)  # noqa: S311
    while time.monotonic() - at < PATIENCE:
        time.sleep(max(0.0, at + looks - time.monotonic()))
        if f"<b>{name}" in _wrong(client.get(reverse("fleet:overview"), headers=headers)):
            return time.monotonic() - at
        looks += LOOK
    raise RuntimeError(f"the overview does not show that {name} is down after {PATIENCE:.0f} s")


def _wrong(answer: Any) -> str:
    """The part of the overview that says what is wrong now."""
    return str(answer.content.decode()).partition('id="wrong"')[2].partition('id="board"')[0]


def _wait(wish: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not wish():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {PATIENCE:.0f} s for {what}")
        time.sleep(0.05)
