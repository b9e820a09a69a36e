"""Signals in: what is taken is committed, what is not is refused with a reason and counted."""

from __future__ import annotations

import json
import time
import uuid
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.access.models import User
from apps.alerts import health, heartbeats, managing, processing, seals
from apps.alerts.models import Alert, Heartbeat, Signal, SignalCount
from apps.fleet.models import Cell, Instance
from apps.operations.models import Operation
from tests.alerts.conftest import fail, make_source, mend, open_alerts, see
from tests.factories import make_account, make_cell, make_instance


def firing(name: str = "HighLatency", status: str = "firing", **labels: str) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": name, "severity": "critical", **labels},
        "annotations": {"summary": f"{name} is high"},
        "startsAt": "2026-11-24T10:00:00.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z" if status == "firing" else "2026-11-24T10:05:00Z",
        "generatorURL": "http://prometheus:9090/graph",
    }


def payload(*alerts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "version": "4",
        "groupKey": "{}",
        "status": "firing",
        "receiver": "daytwo",
        "alerts": list(alerts),
        **more,
    }


def post(token: str, data: Any, **headers: str) -> Any:
    body = data if isinstance(data, (bytes, str)) else json.dumps(data)
    return Client(raise_request_exception=False).post(
        "/alerts/in/alertmanager/", body, content_type="application/json",
        headers={"Authorization": f"Bearer {token}", **headers},
    )  # fmt: skip


@pytest.fixture
def token(boss: User) -> str:
    return make_source(boss)[1]


class TestHealth:
    def test_an_instance_that_fails_is_one_alert_until_it_is_well(self, cell: Cell) -> None:
        one = make_instance("one", cell=cell)
        fail(one)
        fail(one)
        alert = Alert.objects.get()
        assert (alert.state, alert.severity, alert.instance, alert.cell) == ("open", "critical", one, cell)
        mend(one)
        assert Alert.objects.get().state == "resolved"

    def test_the_signal_stands_or_falls_with_the_health(
        self, cell: Cell, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one = make_instance("one", cell=cell)

        def broken(*args: Any) -> None:
            raise RuntimeError("no")

        monkeypatch.setattr(health, "write", broken)
        with pytest.raises(RuntimeError):
            fail(one)
        assert Instance.objects.get().health == "well"

    def test_what_fails_while_it_is_changed_is_told_when_it_still_fails_afterwards(
        self, cell: Cell, boss: User
    ) -> None:
        one = make_instance("one", cell=cell)
        operation = Operation.objects
        from apps.operations.services import submit

        made = submit(kind="restart", target_id=one.pk, actor=boss, reason="because")
        operation.filter(pk=made.pk).unrecorded_update(
            state="running", lease_owner="w", lease_until=timezone.now(), started_at=timezone.now()
        )
        fail(one)
        assert (health.catch_up(), open_alerts()) == (0, 0)
        operation.filter(pk=made.pk).unrecorded_update(
            state="failed", finished_at=timezone.now(), lease_owner="", lease_until=None
        )
        assert health.catch_up() == 1
        assert health.catch_up() == 0, "said once"
        processing.process_signals()
        assert open_alerts() == 1
        Instance.objects.filter(pk=one.pk).unrecorded_update(health="well")
        assert health.catch_up() == 1
        processing.process_signals()
        assert open_alerts() == 0

    def test_degraded_is_a_warning_and_becomes_worse_in_place(self, cell: Cell) -> None:
        one = make_instance("one", cell=cell)
        see(one, "running", degraded=True)
        assert Alert.objects.get().severity == "warning"
        fail(one)
        assert Alert.objects.get().severity == "critical"

    def test_flapping_is_held(self, cell: Cell) -> None:
        one = make_instance("one", cell=cell)
        for _ in range(4):
            fail(one)
            mend(one)
        alert = Alert.objects.get()
        assert alert.is_open and alert.flaps == 3 and alert.resolve_after is not None
        processing.settle()
        assert Alert.objects.get().is_open
        with time_machine.travel(timezone.now() + timedelta(minutes=6)):
            processing.settle()
        assert not Alert.objects.get().is_open

    def test_statements_do_not_grow_with_the_instances(self, cell: Cell) -> None:
        counts = []
        for number in (5, 40):
            many = [make_instance(cell=cell) for _ in range(number)]
            with CaptureQueriesContext(connection) as queries:
                fail(many)
            counts.append(len(queries))
        assert open_alerts() == 46, "each, and the cell"
        assert counts[1] <= counts[0], counts


class TestAlertmanager:
    def test_it_is_committed_before_the_answer(self, token: str, cell: Cell) -> None:
        make_instance("one", cell=cell)
        answer = post(token, payload(firing(daytwo_instance="one"), firing("DiskFull", cell="cell-1")))
        assert (answer.status_code, answer.json()) == (200, {"accepted": 2})
        first, second = Signal.objects.order_by("id")
        assert (first.instance.name, first.cell, second.instance, second.cell) == ("one", cell, None, cell)
        assert SignalCount.objects.get(outcome="accepted").signals == 2

    def test_the_same_labels_are_one_alert(self, token: str) -> None:
        for _ in range(3):
            post(token, payload(firing(), firing()))
            processing.process_signals()
        assert (Alert.objects.count(), Alert.objects.get().signals) == (1, 6)
        post(token, payload(firing(status="resolved")))
        processing.process_signals()
        assert Alert.objects.get().resolved_at is not None

    @pytest.mark.parametrize(
        ("body", "status", "word"),
        [
            ("no json", 400, "malformed"),
            ("[1]", 400, "malformed"),
            (b"\xff\xfe", 400, "malformed"),
            ("[" * 100_000, 400, "malformed"),
            ({"version": "3", "alerts": []}, 400, "version"),
            ({"version": "4", "alerts": "x"}, 400, "malformed"),
            (payload({"status": "odd", "labels": {"alertname": "x"}}), 400, "malformed"),
            (payload({"status": "firing", "labels": {}}), 400, "malformed"),
            (payload({"status": "firing", "labels": {"alertname": "x\x00"}}), 400, "malformed"),
            (payload({**firing(), "startsAt": "yesterday"}), 400, "malformed"),
            (payload({**firing(), "labels": {"alertname": "x", "long": "x" * 501}}), 400, "malformed"),
            (payload(*[firing()] * 2_001), 413, "too many"),
            ("x" * (2 * 1024 * 1024 + 1), 413, "too large"),
        ],
    )  # fmt: skip
    def test_what_is_malformed_is_refused_whole_and_counted(
        self, token: str, body: Any, status: int, word: str
    ) -> None:
        answer = post(token, body)
        assert answer.status_code == status, answer.content
        assert answer.json()["error"]
        assert Signal.objects.count() == 0
        assert SignalCount.objects.get().outcome == word

    def test_one_bad_entry_refuses_all(self, token: str) -> None:
        assert post(token, payload(firing(), {"status": "firing"})).status_code == 400
        assert Signal.objects.count() == 0

    def test_without_a_valid_token_nothing_is_read(self, token: str) -> None:
        for wrong in ("", "x", token[:-1]):
            assert post(wrong, payload(firing())).status_code == 401
        assert Signal.objects.count() == 0
        assert SignalCount.objects.get().requests == 3

    def test_a_source_of_one_account_speaks_of_that_one_only(self, boss: User, cell: Cell) -> None:
        make_instance("mine", cell=cell)
        make_instance("theirs", cell=make_cell(account=make_account()))
        _, token = make_source(boss, account=cell.region.account)
        assert post(token, payload(firing(daytwo_instance="mine"))).status_code == 200
        for labels in ({"daytwo_instance": "theirs"}, {}):
            assert (
                post(token, payload(firing("mine", daytwo_instance="mine"), firing(**labels))).status_code
                == 403
            )
        assert Signal.objects.count() == 1

    def test_behind_is_429_with_a_time(self, token: str, settings: Any) -> None:
        settings.ALERTS_BACKLOG = 2
        assert post(token, payload(firing(), firing("b"))).status_code == 200
        answer = post(token, payload(firing("c")))
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "10")
        processing.process_signals()
        assert post(token, payload(firing("c"))).status_code == 200

    def test_a_batch_that_dies_is_done_again(self, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
        from apps.alerts import grouping

        post(token, payload(firing()))
        refresh = grouping.refresh
        monkeypatch.setattr(grouping, "refresh", lambda ids: (_ for _ in ()).throw(RuntimeError("killed")))
        with pytest.raises(RuntimeError):
            processing.process_signals()
        assert Alert.objects.count() == 0
        monkeypatch.setattr(grouping, "refresh", refresh)
        processing.process_signals()
        assert Alert.objects.count() == 1

    def test_the_token_is_kept_nowhere(self, token: str) -> None:
        from apps.audit.models import AuditEntry

        kept = str(list(AuditEntry.objects.values_list("changes", "object_repr")))
        assert token not in kept and seals.token_hash(token) not in kept


class TestSigned:
    def send(self, source: Any, secret: str, body: bytes, at: int | None = None) -> Any:
        stamp = str(at or int(time.time()))
        mark = f"t={stamp},v1={seals.signature(secret, stamp, body)}"
        return Client().post(
            f"/alerts/in/webhook/{source.pk}/",
            body,
            content_type="application/json",
            headers={"X-Daytwo-Signature": mark},
        )

    def test_signed_is_taken_once(self, boss: User) -> None:
        source, secret = make_source(boss, "webhook")
        body = json.dumps(
            {"signals": [{"state": "firing", "name": "Backup", "severity": "high", "summary": "no backup"}]}
        ).encode()
        at = int(time.time())
        assert self.send(source, secret, body, at).status_code == 200
        assert self.send(source, secret, body, at).status_code == 409, "a replay"
        assert self.send(source, "wrong", body).status_code == 401
        assert self.send(source, secret, body, at - 400).status_code == 401
        assert (
            Client()
            .post(f"/alerts/in/webhook/{source.pk}/", body, content_type="application/json")
            .status_code
            == 401
        )
        processing.process_signals()
        assert Alert.objects.get().severity == "critical"
        words = set(SignalCount.objects.values_list("outcome", flat=True))
        assert words == {"accepted", "replayed", "wrong signature", "signature too old", "no signature"}

    def test_the_secret_is_sealed(self, boss: User) -> None:
        source, secret = make_source(boss, "webhook")
        assert secret not in source.secret_sealed and seals.unseal(source.secret_sealed) == secret


class TestHeartbeat:
    def test_late_is_an_alert_until_it_is_heard_of(self, boss: User) -> None:
        _, token = managing.make_heartbeat(Heartbeat(name="nightly backup", every=60, grace=30), actor=boss)
        url = f"/alerts/in/heartbeat/{token}/"
        assert Client().get(url).status_code == 200
        assert heartbeats.look() == 0
        with time_machine.travel(timezone.now() + timedelta(seconds=100), tick=False):
            assert (heartbeats.look(), heartbeats.look()) == (1, 0)
            processing.process_signals()
            assert Alert.objects.get().is_open
            assert Client().post(url).status_code == 200
            processing.process_signals()
            assert not Alert.objects.get().is_open

    def test_an_unknown_one_is_counted(self, boss: User) -> None:
        assert Client().get(f"/alerts/in/heartbeat/{uuid.uuid4()}/").status_code == 404
        assert SignalCount.objects.get().outcome == "no such heartbeat"


def test_prometheus_is_told_what_to_scrape(boss: User, cell: Cell) -> None:
    make_instance("one", cell=cell, endpoint="https://127.0.0.1:4001")
    make_instance("stopped", cell=cell, endpoint="https://127.0.0.1:4002", wanted="stopped")
    _, token = make_source(boss, "discovery")
    assert Client().get("/alerts/prometheus/targets.json").status_code == 401
    answer = Client().get("/alerts/prometheus/targets.json", headers={"Authorization": f"Bearer {token}"})
    (group,) = answer.json()
    assert group["targets"] == ["127.0.0.1:4001"]
    assert group["labels"]["__scheme__"] == "https" and group["labels"]["daytwo_instance"] == "one"
