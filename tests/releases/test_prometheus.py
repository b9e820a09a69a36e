"""A gate that asks a real Prometheus: what it says of new and old, and that it waits where nobody answers."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.access.models import User
from apps.fleet.models import Instance
from apps.releases import metering
from apps.releases.choices import RolloutState, TargetState, Verdict, WaveState
from apps.releases.evidence import evidence_of
from apps.releases.gates import judge
from apps.releases.models import MetricSource, Release, Rollout
from tests.factories import as_system
from tests.releases.conftest import run, start

PROGRAM = shutil.which("prometheus")
needs_prometheus = pytest.mark.skipif(
    PROGRAM is None, reason="no Prometheus here: apt-get install prometheus"
)
Fleet = Callable[[int], list[Instance]]
CONFIG = """
global: {{scrape_interval: 500ms}}
scrape_configs:
  - job_name: fleet
    static_configs:
{targets}
"""


def endpoint(per_second: float, errors: float, latency: float) -> ThreadingHTTPServer:
    """What an instance of the local fleet shows at /metrics: counters that grow by themselves."""
    began = time.monotonic()

    class Product(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            total = (time.monotonic() - began) * per_second
            bad = total * errors
            lines = [
                "# TYPE http_requests_total counter",
                f'http_requests_total{{tenant="t",code="200"}} {total - bad:.0f}',
                f'http_requests_total{{tenant="t",code="500"}} {bad:.0f}',
                "# TYPE http_request_duration_seconds summary",
                f'http_request_duration_seconds_sum{{tenant="t"}} {total * latency:.4f}',
                f'http_request_duration_seconds_count{{tenant="t"}} {total:.0f}',
            ]
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write("\n".join([*lines, ""]).encode())

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Product)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def serve(tmp_path: Path, settings: Any) -> Iterator[Callable[[dict[str, ThreadingHTTPServer]], Any]]:
    """Start a Prometheus that scrapes these, by the names of their instances."""
    started: list[Any] = []

    def begin(products: dict[str, ThreadingHTTPServer]) -> subprocess.Popen[bytes]:
        targets = "\n".join(
            f'      - {{targets: ["127.0.0.1:{one.server_port}"], labels: {{daytwo_instance: {name}}}}}'
            for name, one in products.items()
        )
        (tmp_path / "prometheus.yml").write_text(CONFIG.format(targets=targets))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [
            str(PROGRAM), f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb",
            f"--web.listen-address=127.0.0.1:{port}",
        ]  # fmt: skip
        log = (tmp_path / "log").open("wb")
        process = subprocess.Popen(command, stdout=log, stderr=log)
        started.extend([process, *products.values()])
        settings.PROMETHEUS_URL = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{settings.PROMETHEUS_URL}/-/ready", timeout=2).status_code == 200:
                    return process
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        raise AssertionError((tmp_path / "log").read_text()[-4_000:])

    yield begin
    for one in started:
        if isinstance(one, subprocess.Popen):
            one.terminate()
            one.wait(10)
        else:
            one.shutdown()


@pytest.fixture
def source(boss: User) -> MetricSource:
    metering._kept.clear()
    return metering.save_source(MetricSource(name="prom", step_seconds=2), actor=boss, reason="as agreed")


def baking(release: Release, boss: User, source: MetricSource, **options: Any) -> Rollout:
    """A rollout whose canary, i-000, is changed and bakes since now; i-001 and i-002 run the old version."""
    rollout = start(release, boss, metric_source=source, min_requests=50, bake_seconds=3_600, **options)
    run(rollout)
    with as_system():
        Rollout.objects.filter(pk=rollout.pk).update(bake_seconds=0)
    rollout.refresh_from_db()
    assert rollout.waves.get(number=1).state == WaveState.BAKING
    return rollout


def judged(rollout: Rollout, since: datetime) -> tuple[str, str]:
    wave = rollout.waves.get(number=1)
    wave.baking_since = since
    metering._kept.clear()
    found = judge(evidence_of(rollout, wave))
    return found.verdict, " ".join(text for _, text in found.reasons)


@needs_prometheus
def test_a_worse_version_fails_a_fine_one_passes_and_one_that_is_away_waits(
    fleet: Fleet, release: Release, boss: User, source: MetricSource, serve: Any
) -> None:
    fleet(3)
    rollout = baking(release, boss, source)
    canary = rollout.targets.get(state=TargetState.DONE).instance.name
    names = [f"i-{n:03}" for n in range(3)]
    worse = {
        name: endpoint(40, 0.2 if name == canary else 0.0, 0.2 if name == canary else 0.02) for name in names
    }
    process = serve(worse)
    since = timezone.now()
    verdict, said = judged(rollout, since - timedelta(seconds=1))
    assert (verdict, "not enough data" in said) == (Verdict.WAIT, True), said
    time.sleep(14)
    verdict, said = judged(rollout, since)
    assert verdict == Verdict.FAIL, said
    assert "Fisher's exact test: worse" in said
    assert "Mann–Whitney U test: worse" in said, said
    process.terminate()
    process.wait(10)
    verdict, said = judged(rollout, since)
    assert (verdict, "does not answer: Prometheus was not reached" in said) == (Verdict.WAIT, True), said
    rollout = run(rollout)
    assert rollout.state == RolloutState.RUNNING, "it waits"
    assert "does not answer" in str(rollout.waves.get(number=1).reasons)


@needs_prometheus
def test_a_fine_version_passes_by_its_figures(
    fleet: Fleet, release: Release, boss: User, source: MetricSource, serve: Any
) -> None:
    fleet(3)
    rollout = baking(release, boss, source)
    serve({f"i-{n:03}": endpoint(40, 0.01, 0.02) for n in range(3)})
    since = timezone.now()
    time.sleep(14)
    verdict, said = judged(rollout, since)
    assert verdict == Verdict.PASS, said
    assert "p = " in said


def test_an_answer_and_a_silence_are_kept_for_a_while(source: MetricSource, settings: Any) -> None:
    settings.PROMETHEUS_URL = "http://127.0.0.1:9"
    now = timezone.now()
    for _ in range(3):
        with pytest.raises(metering.Unanswered, match="not reached"):
            metering.traffic_from(source, ["i-000"], now)
    assert len(metering._kept) == 1
    settings.PROMETHEUS_URL = ""
    metering._kept.clear()
    with pytest.raises(metering.Unanswered, match="PROMETHEUS_URL"):
        metering.traffic_from(source, ["i-000"], now)


@pytest.mark.parametrize(
    ("query", "said"),
    [("sum(up)", "ask for"), ("up{i=~'$instances'}[$week]", "not known"), ("$instances $5", "stands before")],
)
def test_a_query_that_cannot_work_is_refused(boss: User, db: None, query: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        metering.save_source(MetricSource(name="bad", requests=query), actor=boss, reason="as agreed")
    assert not MetricSource.objects.exists()


def test_the_page_sets_one_and_a_rollout_takes_it(
    fleet: Fleet, release: Release, boss: User, client: Client
) -> None:
    fleet(1)
    client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
    values = {f.name: f.default for f in MetricSource._meta.fields if f.has_default()}
    data = {**values, "name": "prom", "reason": "as agreed"}
    url = reverse("releases:set_source")
    assert client.post(url, {**data, "requests": "sum(up)"}).status_code == 422
    assert client.post(url, data).status_code == 302
    assert client.post(url, {**data, "step_seconds": 30}).status_code == 302
    made = MetricSource.objects.get()
    assert made.step_seconds == 30
    assert "prom" in client.get(reverse("releases:rules")).content.decode()
    rollout = start(release, boss, metric_source=made)
    assert "from prom" in client.get(reverse("releases:rollout", args=[rollout.pk])).content.decode()


# --- Odd answers ------------------------------------------------------------------------------------


class Odd:
    """Something that speaks its API and answers every query with the same rows."""

    def __init__(self, rows: Any) -> None:
        class Answers(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                kind = "matrix" if self.path.endswith("query_range") else "vector"
                body = json.dumps(
                    {"status": "success", "data": {"resultType": kind, "result": rows(kind)}}
                ).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


def row(kind: str, value: Any) -> dict[str, Any]:
    metric = {"daytwo_instance": "i-000"}
    return (
        {"metric": metric, "values": [[1, value]]}
        if kind == "matrix"
        else {"metric": metric, "value": [1, value]}
    )


@pytest.mark.parametrize(
    "rows",
    [
        lambda kind: [row(kind, "+Inf")],
        lambda kind: [row(kind, "-7")],
        lambda kind: [row(kind, "many")],
        lambda kind: [row(kind, None)],
        lambda kind: [{"metric": {"daytwo_instance": "i-000"}}],
        lambda kind: [{"value": [1, "1"], "values": [[1, "1"]]}],
        lambda kind: ["i-000"],
        lambda kind: [{"metric": [], "value": 1, "values": 1}],
    ],
    ids=["infinite", "negative", "no-number", "null", "no-value", "no-labels", "a-text", "lists"],
)
def test_an_odd_answer_is_no_answer(source: MetricSource, settings: Any, rows: Any) -> None:
    odd = Odd(rows)
    settings.PROMETHEUS_URL = odd.url
    metering._kept.clear()
    with pytest.raises(metering.Unanswered):
        metering.traffic_from(source, ["i-000"], timezone.now() - timedelta(seconds=60))
    odd.server.shutdown()


def test_what_is_no_number_is_left_out(source: MetricSource, settings: Any) -> None:
    odd = Odd(lambda kind: [row(kind, "NaN")])
    settings.PROMETHEUS_URL = odd.url
    metering._kept.clear()
    found = metering.traffic_from(source, ["i-000"], timezone.now() - timedelta(seconds=60))
    assert (found.requests, found.errors, list(found.latencies)) == (0, 0, [])
    odd.server.shutdown()
