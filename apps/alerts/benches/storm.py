"""Ten thousand alerts in a minute over HTTP: none lost, grouped, one page for each incident, pages stay usable."""

import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import httpx
from django.db import connection
from django.test import Client
from django.test.testcases import LiveServerThread, _StaticFilesHandler

from apps.access.models import User
from apps.access.services import system_actor
from apps.core.context import acting
from apps.fleet.benches.figures import Figure
from apps.fleet.models import Instance
from apps.fleet.seeding import seed

from .. import clock, managing
from ..models import Alert, Channel, EscalationPolicy, EscalationStep, Incident, OnCallSchedule, Page, Signal

ALERTS, AT_ONCE, SENDERS = 10_000, 100, 4


def storm() -> Iterator[Figure]:
    """Send, while a worker carries what came into incidents and somebody reads the list. Needs an empty database."""
    with acting(system_actor("command"), reason="bench", via="command"):
        boss = User.objects.get_or_create(username="bench-boss", defaults={"is_superuser": True})[0]
    seed(instances=ALERTS, tenants=ALERTS // 5, actor=system_actor("command"))
    source, token = managing.make_source(
        name=f"bench-{Signal.objects.count()}", kind="alertmanager", account=None, actor=boss
    )
    turns = managing.save_schedule(
        OnCallSchedule(name="bench", starts_on=date(2026, 1, 1)), people=[boss], actor=boss
    )
    managing.save_channel(Channel(name="bench", owner=boss), address="json://127.0.0.1:9/", actor=boss)
    managing.save_escalation(
        EscalationPolicy(name="bench"), steps=[EscalationStep(schedule=turns)], actor=boss
    )
    names = list(Instance.objects.order_by("pk").values_list("name", flat=True)[:ALERTS])
    bodies = [[_alert(name) for name in names[i : i + AT_ONCE]] for i in range(0, len(names), AT_ONCE)]
    server = LiveServerThread("127.0.0.1", _StaticFilesHandler)
    server.daemon = True
    server.start()
    server.is_ready.wait()
    over = threading.Event()
    worker = threading.Thread(target=_work, args=[over], daemon=True)
    worker.start()
    began = time.perf_counter()
    url = f"http://127.0.0.1:{server.port}/alerts/in/alertmanager/"
    with ThreadPoolExecutor(SENDERS) as pool:
        answers = [pool.submit(_send, url, token, body) for body in bodies]
        reads = _read(boss, lambda: all(a.done() for a in answers))
    took = time.perf_counter() - began
    while Signal.objects.filter(processed_at__isnull=True).exists():
        time.sleep(0.05)
    clock.tick()
    settled = time.perf_counter() - began
    over.set()
    worker.join()
    server.terminate()
    codes = Counter(code for a in answers for code in a.result())
    kept = Signal.objects.filter(source_name=source.name).count()
    if (
        set(codes) - {200, 429}
        or kept != ALERTS
        or Alert.objects.filter(source_name=source.name).count() != ALERTS
    ):
        raise RuntimeError(f"answers {codes}, {kept} signals kept of {ALERTS}")
    yield Figure("10,000 Alertmanager alerts accepted", took, "s", at_most=60)
    yield Figure("… and grouped into incidents", settled, "s", at_most=60)
    yield Figure("… answered 429 and sent again", codes[429], "requests")
    yield Figure("… incidents", Incident.objects.count(), "")
    yield Figure(
        "… pages for each incident",
        Page.objects.count() / max(1, Incident.objects.count()),
        "",
        at_most=1,
        at_least=1,
    )
    yield Figure("… the list of incidents meanwhile, median", statistics.median(reads), "ms")


def _alert(name: str) -> dict[str, Any]:
    labels = {"alertname": "HighLatency", "severity": "critical", "daytwo_instance": name}
    return {
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": f"{name} is slow"},
        "startsAt": "2026-11-24T10:00:00Z",
    }


def _send(url: str, token: str, alerts: list[dict[str, Any]]) -> list[int]:
    """The answers until it was taken, as Alertmanager would go on trying."""
    codes = []
    while True:
        answer = httpx.post(
            url,
            json={"version": "4", "alerts": alerts},
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
        )
        codes.append(answer.status_code)
        if answer.status_code != 429:
            return codes
        time.sleep(1)


def _read(boss: User, over: Any) -> list[float]:
    client = Client()
    client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
    took = []
    while not over():
        began = time.perf_counter()
        if client.get("/alerts/incidents/").status_code != 200:
            raise RuntimeError("the list of incidents does not answer")
        took.append((time.perf_counter() - began) * 1000)
        time.sleep(0.2)
    return took or [0.0]


def _work(over: threading.Event) -> None:
    try:
        while not over.is_set():
            clock.tick()
            over.wait(0.2)
    finally:
        connection.close()
