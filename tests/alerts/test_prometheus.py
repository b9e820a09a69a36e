"""Real Prometheus and Alertmanager: they find a target by our discovery, and what they say becomes an alert."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from apps.access.models import User
from apps.alerts import processing
from apps.alerts.models import Alert, SignalCount
from apps.fleet.models import Cell, Instance
from tests.alerts.conftest import make_source
from tests.factories import as_system, make_instance

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
