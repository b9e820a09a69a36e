"""Real Prometheus and Alertmanager: they find a target by our discovery, and what they say becomes an alert."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from apps.access.models import User
from apps.alerts import processing
from apps.alerts.models import Alert, AlertRule, SignalCount, TelemetrySource
from apps.alerts.rules import evaluating, keeping
from apps.alerts.telemetry import keeping as telemetry
from apps.fleet.models import Cell, Instance
from apps.fleet.queries.charts import chart_data, tenant_data
from tests.alerts.conftest import make_source
from tests.factories import as_system, make_instance, make_tenant, place
from tests.fleet.local import Local, local_fleet


@pytest.fixture
def local(transactional_db: None, tmp_path: Path) -> Iterator[Local]:
    """A local fleet with real processes."""
    with local_fleet(tmp_path / "fleet") as made:
        yield made


PROGRAMS = {name: shutil.which(name) for name in ("prometheus", "prometheus-alertmanager")}
pytestmark = [
    pytest.mark.skipif(
        None in PROGRAMS.values(),
        reason="no Prometheus here: apt-get install prometheus prometheus-alertmanager",
    ),
    pytest.mark.chaos,
]

PROMETHEUS = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{folder}/rules.yml]
alerting:
  alertmanagers: [{{static_configs: [{{targets: ["127.0.0.1:{alertmanager}"]}}]}}]
scrape_configs:
  - job_name: daytwo
    http_sd_configs:
      - {{url: "{portal}/alerts/prometheus/targets.json", refresh_interval: 1s, authorization: {{credentials: "{discovery}"}}}}
"""
RULES = """
groups: [{name: fleet, rules: [{alert: TooHot, expr: "temperature > 90", labels: {severity: page},
  annotations: {summary: "{{ $labels.daytwo_instance }} is at {{ $value }} degrees"}}]}]
"""
ALERTMANAGER = """
route: {{receiver: daytwo, group_wait: 1s, group_interval: 1s, repeat_interval: 1m, group_by: ["..."]}}
receivers:
  - name: daytwo
    webhook_configs:
      - {{url: "{portal}/alerts/in/alertmanager/", http_config: {{authorization: {{credentials: "{token}"}}}}}}
"""


class Product(BaseHTTPRequestHandler):
    temperature = 95

    def do_GET(self) -> None:
        body = f"temperature {type(self).temperature}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(look: Any, what: Callable[[], str], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        processing.process_signals()
        if look():
            return
        time.sleep(0.5)
    counted = list(SignalCount.objects.values_list("source_name", "outcome", "requests"))
    raise AssertionError(f"{what()}\n{counted}")


def test_they_find_the_fleet_and_what_they_say_arrives(
    live_server: Any, boss: User, cell: Cell, tmp_path: Path
) -> None:
    product = HTTPServer(("127.0.0.1", 0), Product)
    threading.Thread(target=product.serve_forever, daemon=True).start()
    with as_system():
        one: Instance = make_instance(
            "hot-one", cell=cell, endpoint=f"http://127.0.0.1:{product.server_port}"
        )
    _, token = make_source(boss)
    _, discovery = make_source(boss, "discovery")
    ports = {"alertmanager": free_port(), "prometheus": free_port()}
    words = {"portal": live_server.url, "token": token, "discovery": discovery, "folder": tmp_path, **ports}
    (tmp_path / "prometheus.yml").write_text(PROMETHEUS.format(**words))
    (tmp_path / "rules.yml").write_text(RULES)
    (tmp_path / "alertmanager.yml").write_text(ALERTMANAGER.format(**words))
    commands = [
        [PROGRAMS["prometheus-alertmanager"], f"--config.file={tmp_path}/alertmanager.yml", f"--storage.path={tmp_path}/am",
         f"--web.listen-address=127.0.0.1:{ports['alertmanager']}", "--cluster.listen-address="],
        [PROGRAMS["prometheus"], f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb",
         f"--web.listen-address=127.0.0.1:{ports['prometheus']}"],
    ]  # fmt: skip
    log = (tmp_path / "log").open("wb")
    started = [subprocess.Popen([str(c) for c in command], stdout=log, stderr=log) for command in commands]
    try:
        told = lambda: (tmp_path / "log").read_text()[-6_000:]  # noqa: E731
        wait_for(lambda: Alert.objects.filter(name="TooHot", state="open").exists(), told)
        alert = Alert.objects.get(name="TooHot")
        assert (alert.instance, alert.severity, alert.summary) == (
            one,
            "critical",
            "hot-one is at 95 degrees",
        )
        Product.temperature = 20
        wait_for(lambda: Alert.objects.filter(name="TooHot", state="resolved").exists(), told)
    finally:
        for process in started:
            process.terminate()
            process.wait(10)
        product.shutdown()


# --- The local fleet: charts and rules by a real Prometheus ------------------------------------------

LOCAL = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: daytwo
    tls_config: {{ca_file: "{ca}"}}
    http_sd_configs:
      - {{url: "{portal}/alerts/prometheus/targets.json", refresh_interval: 5s, authorization: {{credentials: "{discovery}"}}}}
"""


def ask_often(endpoints: list[str], context: Any, stop: threading.Event) -> None:
    """Requests to instances' own addresses: every second one of the first is of a tenant that it does not know."""
    while not stop.is_set():
        for endpoint in endpoints:
            try:
                urllib.request.urlopen(f"{endpoint}/t/acme/", context=context, timeout=5).read()
            except OSError:
                continue
        stop.wait(0.05)


def test_charts_and_rules_come_from_a_real_prometheus_that_scrapes_the_local_fleet(
    live_server: Any, boss: User, local: Local, tmp_path: Path
) -> None:
    one, two = local.instance("one"), local.instance("two")
    place(make_tenant("acme"), one)
    local.provider.place(local.target(one))
    _, discovery = make_source(boss, "discovery", account=local.account)
    port = free_port()
    words = {
        "portal": live_server.url,
        "discovery": discovery,
        "ca": local.provider.authority.certificate_file,
    }
    (tmp_path / "prometheus.yml").write_text(LOCAL.format(**words))
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(
        [str(PROGRAMS["prometheus"]), f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb",
         f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log,
    )  # fmt: skip
    stop = threading.Event()
    context = local.provider.authority.client_context()
    asker = threading.Thread(
        target=ask_often, args=([local.endpoint(one), local.endpoint(two)], context, stop), daemon=True
    )
    asker.start()
    told = lambda: (tmp_path / "log").read_text()[-4_000:]  # noqa: E731
    source = telemetry.save(
        TelemetrySource(name="ours", account=local.account, prometheus_url=f"http://127.0.0.1:{port}"),
        actor=boss,
    )
    query = "sum by (daytwo_instance) (rate(http_requests_total[30s])) > 0.5"
    keeping.save(AlertRule(name="Busy", kind="promql", query=query, account=local.account), actor=boss)
    try:
        wait_for(lambda: telemetry.try_out(source, actor=boss) == [("Prometheus", "")], told)

        def drawn(name: str, *compared: str) -> dict[str, Any]:
            return chart_data(boss, one, "15m", name, compared)

        def last(data: dict[str, Any], kind: str | None = None) -> float | None:
            (series,) = [s for s in data["series"] if s.get("kind") == kind]
            return next((value for _, value in reversed(series["points"]) if value is not None), None)

        wait_for(lambda: (last(drawn("requests")) or 0) > 0.5, told)
        wait_for(lambda: (last(drawn("requests", "cell"), "median") or 0) > 0.5, told)
        data = drawn("requests", "cell", "week")
        assert data["from"] == "ours (127.0.0.1)"
        assert data["note"] == ""
        assert (last(data, "median") or 0) > 0.5, "the other instance"
        assert last(data, "past") is None
        for name in ("errors", "latency", "cpu", "memory"):
            assert last(drawn(name)) is not None, name
        assert (last(drawn("memory")) or 0) > 5
        own = tenant_data(boss, [one], "acme", "15m", "requests")
        assert [v for _, v in own["series"][0]["points"] if v], "its own requests alone"
        assert not [
            v for _, v in tenant_data(boss, [one], "globex", "15m", "requests")["series"][0]["points"] if v
        ]

        busy = Alert.objects.filter(name="Busy", state="open").values_list("instance__name", flat=True)
        wait_for(lambda: evaluating.evaluate() >= 0 and set(busy.all()) == {"one", "two"}, told)

        process.terminate()
        process.wait(20)
        away = drawn("requests")
        assert away["note"].startswith("Prometheus was not reached: ConnectError.")
        evaluating.evaluate()
        assert AlertRule.objects.get().error == "Prometheus was not reached: ConnectError."
        assert Alert.objects.filter(name="Busy", state="open").count() == 2, (
            "what cannot be asked keeps its alerts"
        )
    finally:
        stop.set()
        asker.join(10)
        process.terminate()
        process.wait(20)
