"""The portal's own rules: each kind over a real history, and PromQL over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.test import Client
from django.utils import timezone

from apps.access.models import User
from apps.alerts import processing
from apps.alerts.models import Alert, AlertRule
from apps.alerts.rules import asking, evaluating, keeping
from apps.fleet.models import Cell, Instance, Measurement
from tests.alerts.conftest import open_alerts
from tests.factories import as_system, make_cell, make_instance

Many = Callable[[int], list[Instance]]
STEP = 15


def rule(boss: User, **fields: Any) -> AlertRule:
    return keeping.save(AlertRule(**{"name": "errors", "window": 300, **fields}), actor=boss)


def history(
    instance: Instance,
    *,
    minutes: int = 10,
    per_second: float = 10,
    errors: float = 0.0,
    until: datetime | None = None,
    latency: float = 0.02,
    start: float = 0.0,
    memory: float = 64e6,
) -> None:
    """A row every quarter of a minute until now: so many requests a second, this share of them failed."""
    until = until or timezone.now()
    count = minutes * 60 // STEP
    Measurement.objects.bulk_create(
        [
            Measurement(
                instance=instance, at=until - timedelta(seconds=STEP * (count - n)), requests=start + per_second * STEP * n,
                errors=errors * per_second * STEP * n, seconds=latency * per_second * STEP * n, cpu=0.1 * STEP * n,
                memory=memory,
            )
            for n in range(count + 1)
        ]
    )  # fmt: skip


def tell(now: datetime | None = None) -> int:
    said = evaluating.evaluate(now)
    processing.process_signals()
    return said


class TestThreshold:
    def test_over_it_fires_once_and_under_it_is_over(self, boss: User, instances: Many) -> None:
        one, two = instances(2)
        rule(boss, threshold=5)
        history(one, errors=0.10)
        history(two, errors=0.01)
        assert (tell(), tell()) == (1, 0)
        alert = Alert.objects.get()
        assert (alert.instance, alert.is_open) == (one, True)
        assert "10 % errors, over 5" in alert.summary
        Measurement.objects.filter(instance=one).delete()
        history(one)
        assert tell() == 1
        assert open_alerts() == 0

    @pytest.mark.parametrize(
        ("metric", "direction", "threshold", "fires"),
        [
            ("requests", "under", 11, True), ("requests", "over", 11, False), ("latency", "over", 19, True),
            ("cpu", "over", 0.05, True), ("memory", "over", 60, True), ("memory", "over", 70, False),
        ],
    )  # fmt: skip
    def test_each_figure(
        self, boss: User, instances: Many, metric: str, direction: str, threshold: float, fires: bool
    ) -> None:
        history(instances(1)[0])
        rule(boss, metric=metric, direction=direction, threshold=threshold)
        assert tell() == int(fires)

    def test_a_restart_between_two_looks_is_no_leap(self, boss: User, instances: Many) -> None:
        (one,) = instances(1)
        now = timezone.now()
        history(one, minutes=2, start=1e9, until=now - timedelta(seconds=STEP))
        Measurement.objects.create(instance=one, at=now, requests=150)
        rule(boss, metric="requests", threshold=11)
        assert tell() == 0

    def test_few_requests_say_nothing_about_errors(self, boss: User, instances: Many) -> None:
        history(instances(1)[0], per_second=0.05, errors=1.0)
        rule(boss, least_requests=100)
        assert tell() == 0

    def test_only_in_its_place(self, boss: User, instances: Many, cell: Cell) -> None:
        (one,) = instances(1)
        other = make_instance(cell=make_cell("other"))
        for instance in (one, other):
            history(instance, errors=0.5)
        rule(boss, cell=other.cell)
        tell()
        assert Alert.objects.get().instance == other

    def test_one_that_is_not_measured_keeps_its_alert_until_it_is_stopped(
        self, boss: User, instances: Many
    ) -> None:
        (one,) = instances(1)
        rule(boss)
        history(one, errors=0.5)
        tell()
        Measurement.objects.all().delete()
        assert tell() == 0
        with as_system():
            Instance.objects.filter(pk=one.pk).update(wanted="stopped")
        assert tell() == 1
        assert open_alerts() == 0

    def test_one_that_was_made_worse_is_told_of_again(self, boss: User, instances: Many) -> None:
        (one,) = instances(1)
        made = rule(boss, threshold=5, severity="warning")
        history(one, errors=0.10)
        tell()
        made.severity = "critical"
        keeping.save(made, actor=boss)
        assert (tell(), tell()) == (1, 0)
        alert = Alert.objects.select_related("incident").get()
        assert (alert.severity, alert.incident and alert.incident.severity) == ("critical", "critical")

    def test_a_rule_that_is_switched_off_lets_go(self, boss: User, instances: Many) -> None:
        made = rule(boss)
        history(instances(1)[0], errors=0.5)
        tell()
        made.is_enabled = False
        keeping.save(made, actor=boss)
        assert tell() == 1
        assert open_alerts() == 0


class TestOtherKinds:
    def test_absence(self, boss: User) -> None:
        local = make_cell("local", provider="local")
        heard, silent, _new = (make_instance(cell=local) for _ in range(3))
        long_ago = timezone.now() - timedelta(hours=1)
        Instance.objects.filter(pk__in=[heard.pk, silent.pk]).unrecorded_update(created_at=long_ago)
        make_instance(cell=local, wanted="stopped")
        history(heard)
        rule(boss, kind="absence", window=120)
        tell()
        assert Alert.objects.get().instance == silent

    def test_change(self, boss: User, instances: Many) -> None:
        one, steady = instances(2)
        now = timezone.now()
        for instance, later in ((one, 2), (steady, 10)):
            history(instance, minutes=5, per_second=10, until=now - timedelta(minutes=5, seconds=1))
            history(instance, minutes=5, per_second=later, until=now)
        rule(boss, kind="change", metric="requests", direction="under", threshold=50)
        tell(now)
        alert = Alert.objects.get()
        assert alert.instance == one
        assert "-80 %" in alert.summary

    def test_a_budget_burns_in_both_windows_or_not(self, boss: User, instances: Many) -> None:
        burns, over, spike = instances(3)
        now = timezone.now()
        history(burns, minutes=60, errors=0.02)
        # It burned, and is over: the short window is good.
        history(over, minutes=50, errors=0.03, until=now - timedelta(minutes=10))
        history(over, minutes=9, until=now)
        # It burns just now, and hardly matters to the hour.
        history(spike, minutes=57, until=now - timedelta(minutes=3))
        history(spike, minutes=1, errors=0.15, until=now)
        rule(boss, kind="burn", objective=99.9, threshold=14.4, window=3600)
        tell(now)
        assert Alert.objects.get().instance == burns
        assert "20.0 times too fast" in Alert.objects.get().summary


@pytest.fixture
def prometheus(settings: Any) -> Iterator[Any]:
    """What speaks Prometheus' API: it answers what the test says."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            server.asked.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
            body = server.answer.encode()
            self.send_response(server.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server: Any = HTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.answer, server.status = [], "", 200
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings.PROMETHEUS_URL = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()


def vector(*labels: dict[str, str]) -> str:
    result = [{"metric": {"__name__": "up", **each}, "value": [1, "0"]} for each in labels]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})


class TestPromQL:
    def test_each_sample_is_an_alert_on_what_its_labels_name(
        self, boss: User, instances: Many, prometheus: Any
    ) -> None:
        (one,) = instances(1)
        rule(boss, kind="promql", query="up == 0")
        prometheus.answer = vector({"instance_name": one.name}, {"job": "mail"})
        assert (tell(), tell()) == (2, 0)
        assert prometheus.asked[0] == ("/api/v1/query", "query=up+%3D%3D+0")
        assert Alert.objects.filter(instance=one).count() == 1
        prometheus.answer = vector({"job": "mail"})
        assert tell() == 1
        assert open_alerts() == 1

    @pytest.mark.parametrize(
        ("status", "answer", "words"),
        [
            (200, "no json", "no JSON"),
            (400, '{"status": "error", "error": "parse error"}', "parse error"),
            (200, '{"status": "success", "data": {"resultType": "matrix", "result": []}}', "instant vector"),
            (200, "[]", "refused"),
        ],
    )
    def test_no_answer_is_no_all_clear(
        self, boss: User, prometheus: Any, status: int, answer: str, words: str
    ) -> None:
        made = rule(boss, kind="promql", query="up == 0")
        prometheus.answer = vector({"job": "mail"})
        tell()
        prometheus.status, prometheus.answer = status, answer
        assert tell() == 0
        made.refresh_from_db()
        assert words in made.error
        assert open_alerts() == 1

    def test_without_a_prometheus_it_says_so(self, boss: User, settings: Any) -> None:
        settings.PROMETHEUS_URL = ""
        with pytest.raises(asking.Unanswered, match="PROMETHEUS_URL"):
            asking.ask(AlertRule(query="up"))


class TestWhoMay:
    def test_a_place_of_ones_own(self, olga: User, cell: Cell) -> None:
        keeping.save(AlertRule(name="mine", cell=cell), actor=olga)
        rows: tuple[dict[str, Any], ...] = ({}, {"kind": "promql", "query": "up", "cell": cell})
        for fields in rows:
            with pytest.raises(PermissionDenied):
                keeping.save(AlertRule(name="all", **fields), actor=olga)

    def test_one_that_makes_no_sense(self, boss: User) -> None:
        for fields in ({"window": 1}, {"objective": 100}, {"kind": "promql"}, {"query": "up"}):
            with pytest.raises(ValidationError):
                keeping.save(AlertRule(name="odd", **fields), actor=boss)

    def test_by_the_page(self, olga: User, cell: Cell) -> None:
        client = Client()
        client.force_login(olga, backend="django.contrib.auth.backends.ModelBackend")
        data = {
            "name": "slow", "kind": "threshold", "metric": "latency", "direction": "over", "threshold": "500", "window": "300",
            "objective": "99.9", "least_requests": "20", "severity": "warning", "place": cell.name, "is_enabled": "on",
        }  # fmt: skip
        assert client.post("/alerts/rules/new/", {**data, "window": "5"}).status_code == 422
        assert client.post("/alerts/rules/new/", {**data, "place": ""}).status_code == 403
        assert client.post("/alerts/rules/new/", data).status_code == 302
        assert "mean latency in ms over 500 over 5 min" in client.get("/alerts/rules/").content.decode()
