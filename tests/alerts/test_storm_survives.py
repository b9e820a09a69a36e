"""A storm of alerts while receivers, workers, scheduler and database are killed: what was accepted is not lost, nobody is told twice.

A real web server, workers and a scheduler over a database of their own; a sender that tries again as Alertmanager does.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from portal.stack.postgres import EmbeddedPostgres
from tests.operations.harness import ROOT, Backend

INSTANCES, AT_ONCE = 300, 25
AGAIN = "may be the second time"

PREPARE = """
import sys, datetime, django
django.setup()
from apps.access.models import User
from apps.access.services import system_actor
from apps.alerts import managing
from apps.alerts.models import Channel, EscalationPolicy, EscalationStep, OnCallSchedule
from apps.core.context import acting
from apps.fleet.models import Instance
with acting(system_actor("command"), reason="test"):
    boss, _ = User.objects.get_or_create(username="boss", defaults={"is_superuser": True})
_, token = managing.make_source(name="storm", kind="alertmanager", account=None, actor=boss)
managing.save_channel(Channel(name="sink", owner=boss), address=sys.argv[1], actor=boss)
turns = managing.save_schedule(OnCallSchedule(name="always", starts_on=datetime.date(2020, 1, 1)), people=[boss], actor=boss)
managing.save_escalation(EscalationPolicy(name="tell", repeats=0), steps=[EscalationStep(schedule=turns, wait=86_400)], actor=boss)
print(token, *Instance.objects.order_by("pk").values_list("name", flat=True))
"""


class Portal(Backend):
    """The back end with a web server in front."""

    web: subprocess.Popen[bytes] | None = None
    port = 0

    def start_web(self) -> None:
        if not self.port:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
        granian = str(Path(sys.executable).parent / "granian")
        self.web = self._spawn(
            [granian, "--interface", "wsgi", "--port", str(self.port), "--workers", "1", "portal.wsgi:application"]
        )  # fmt: skip

    def kill_web(self) -> None:
        assert self.web is not None
        os.killpg(self.web.pid, signal.SIGKILL)
        self.web.wait()
        self.start_web()

    def kill_scheduler(self) -> None:
        assert self.scheduler is not None
        os.killpg(self.scheduler.pid, signal.SIGKILL)
        self.scheduler.wait()
        self.scheduler = None
        self.start(workers=len(self.workers))

    def kill_database(self) -> None:
        """As a crash does: no checkpoint, no goodbye."""
        self.postgres.kill()
        self.postgres.start()

    def stop(self) -> None:
        if self.web is not None and self.web.poll() is None:
            os.killpg(self.web.pid, signal.SIGKILL)
            self.web.wait()
        super().stop()


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    # Durable, unlike other tests' clusters: a killed one must keep what it said it had committed.
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="daytwo-storm-"))
    folder.chmod(0o755)
    server = EmbeddedPostgres(folder / "postgres", durable=True)
    server.start()
    made = Portal(server, tmp_path)
    made.environment |= {"ALERTS_QUIET_SECONDS": "3600", "ALERTS_GROUP_SECONDS": "0"}
    made.manage("migrate", "-v0")
    yield made
    made.stop()
    server.destroy()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def sink() -> Iterator[Any]:
    """A service that takes messages, now and then slowly."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            server.got.append(str(json.loads(body)["message"]))
            time.sleep(random.choice((0, 0, 0.5)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.got = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def alert(name: str, state: str = "firing") -> dict[str, Any]:
    labels = {"alertname": "Slow", "severity": "critical", "daytwo_instance": name}
    return {"status": state, "labels": labels, "startsAt": "2026-11-24T10:00:00Z"}


def send(url: str, token: str, names: list[str], over: threading.Event, answers: Counter[str]) -> None:
    """Until it was taken; whatever is no 200 is tried again."""
    body = {"version": "4", "alerts": [alert(name) for name in names]}
    while not over.is_set():
        try:
            answer = httpx.post(url, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=10)
        except httpx.HTTPError as error:
            answers[type(error).__name__] += 1
        else:
            answers[str(answer.status_code)] += 1
            if answer.status_code == 200:
                return
        time.sleep(0.3)


@pytest.mark.chaos
def test_nothing_accepted_is_lost_and_nobody_is_told_twice(portal: Portal, sink: Any) -> None:
    portal.manage("seed", "--instances", str(INSTANCES), "--tenants", "5")
    address = f"json://127.0.0.1:{sink.server_port}/"
    said = subprocess.run(
        [sys.executable, "-c", PREPARE, address],
        cwd=ROOT, env=portal.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    token, *names = said.stdout.split()
    portal.start_web()
    portal.start(workers=2)
    url = f"http://127.0.0.1:{portal.port}/alerts/in/alertmanager/"
    over, answers = threading.Event(), Counter[str]()
    batches = [names[i : i + AT_ONCE] for i in range(0, len(names), AT_ONCE)]
    lanes = [batches[n::3] for n in range(3)]

    def lane(mine: list[list[str]]) -> None:
        for batch in mine:
            send(url, token, batch, over, answers)
            time.sleep(0.5)

    senders = [threading.Thread(target=lane, args=[mine], daemon=True) for mine in lanes]
    for sender in senders:
        sender.start()
    kills = [
        portal.kill_web,
        portal.kill_a_worker,
        portal.kill_scheduler,
        portal.kill_database,
        portal.kill_web,
        portal.kill_a_worker,
    ]
    for kill in kills:
        time.sleep(random.uniform(0.5, 2))
        kill()
    deadline = time.monotonic() + 120
    for sender in senders:
        sender.join(max(0.0, deadline - time.monotonic()))
    over.set()
    assert answers["200"] == len(batches), answers

    def settled() -> bool:
        waiting = portal.one("SELECT count(*) FROM alerts_signal WHERE processed_at IS NULL")
        unsent = portal.one("SELECT count(*) FROM alerts_page WHERE state IN ('pending', 'sending')")
        untold = portal.one("SELECT count(*) FROM alerts_escalation WHERE turn = 0")
        pages = portal.one("SELECT count(*) FROM alerts_page")
        return bool(pages) and not (waiting or unsent or untold)

    while not settled():
        assert time.monotonic() < deadline + 100, portal.log()
        time.sleep(0.5)
    print(f"answers {dict(answers)}, {len(sink.got)} messages")

    # Nothing accepted is lost: each alert stands, once, in an incident.
    assert portal.one("SELECT count(*) FROM alerts_alert WHERE name = 'Slow'") == INSTANCES
    assert portal.one("SELECT count(DISTINCT fingerprint) FROM alerts_alert WHERE name = 'Slow'") == INSTANCES
    assert portal.one("SELECT count(*) FROM alerts_alert WHERE incident_id IS NULL") == 0
    # One page for each incident's step, each of them sent; what went out twice says that it may have.
    pages = portal.rows("SELECT incident_id, turn, state FROM alerts_page")
    assert len(pages) == len({(incident, turn) for incident, turn, _ in pages})
    assert {state for _, _, state in pages} == {"sent"}
    first = [text for text in sink.got if AGAIN not in text]
    assert len(first) == len(set(first)), "somebody was told twice, and not that it may be"
    told = {text.split("\n(This")[0] for text in sink.got}
    assert len(told) == len(pages)
