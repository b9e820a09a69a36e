"""What somebody who means harm sends, or clicks: refused with a reason, counted, and nothing is kept."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from django.test import Client

from apps.access.models import User
from apps.alerts import managing, processing, seals
from apps.alerts.models import Alert, Signal, SignalCount
from apps.alerts.services import Refused
from apps.fleet.models import Cell
from tests.alerts.conftest import fail, make_source
from tests.alerts.test_signals import firing, payload, post
from tests.factories import make_cell, make_instance, make_tenant, place


@pytest.fixture
def token(boss: User) -> str:
    return make_source(boss)[1]


@pytest.mark.parametrize(
    "alert",
    [
        firing(team="\ud800"),
        {**firing(), "annotations": {"summary": "\udfff"}},
        firing("\ud800"),
        {**firing(), "startsAt": "0001-01-01T00:00:00+14:00"},
        {**firing(), "startsAt": "9999-12-31T23:59:59-14:00"},
        {**firing(), "startsAt": 1e300},
        {**firing(), "labels": {"alertname": "x", "\ud800": "y"}},
    ],
)
def test_what_no_database_can_hold_is_refused(token: str, alert: dict[str, Any]) -> None:
    assert post(token, payload(alert)).status_code == 400
    assert not Signal.objects.exists()
    assert SignalCount.objects.filter(outcome="malformed").exists()


def test_a_time_long_ago_is_a_time(token: str) -> None:
    assert post(token, payload({**firing(), "startsAt": "0001-01-01T00:00:00Z"})).status_code in (200, 400)
    processing.process_signals()


def sign(secret: str, body: str, tail: str = "") -> dict[str, str]:
    at = str(int(time.time()))
    return {"X-Daytwo-Signature": f"t={at},v1={seals.signature(secret, at, body.encode())}{tail}"}


def test_a_replay_in_another_dress_is_a_replay(boss: User) -> None:
    source, secret = make_source(boss, "webhook")
    body = json.dumps({"signals": [{"state": "firing", "name": "x"}]})
    headers = sign(secret, body)
    url = f"/alerts/in/webhook/{source.pk}/"

    def send(sent: dict[str, str]) -> int:
        return Client().post(url, body, content_type="application/json", headers=sent).status_code

    assert send(headers) == 200
    for tail in ("", ",av1=1", ",x=1", ",", ", v1x=2", ",zv1=" + "0" * 64):
        assert send({"X-Daytwo-Signature": headers["X-Daytwo-Signature"] + tail}) in (401, 409), tail
    assert Signal.objects.count() == 1


def test_a_source_of_one_account_names_no_tenant_of_another(boss: User, cell: Cell) -> None:
    mine, other = make_tenant("mine"), make_tenant("other")
    place(mine, make_instance(cell=cell))
    place(other, make_instance(cell=make_cell("far")))
    token = make_source(boss, account=cell.region.account)[1]
    about = {"daytwo_account": cell.region.account.name}
    assert post(token, payload(firing(daytwo_tenant="other", **about))).status_code == 403
    assert post(token, payload(firing(daytwo_tenant="mine", **about))).status_code == 200


def test_no_source_speaks_as_the_portal_itself(boss: User, cell: Cell) -> None:
    for name in ("daytwo", "rules", "recovery", "heartbeat", "certificates"):
        with pytest.raises(Refused, match="own"):
            managing.make_source(name=name, kind="alertmanager", account=None, actor=boss)


def test_a_monitor_cannot_resolve_what_the_portal_sees(token: str, cell: Cell) -> None:
    one = make_instance(cell=cell)
    fail(one)
    labels = {"instance_id": str(one.pk), "daytwo_instance": one.name}
    assert post(token, payload(firing("InstanceFailing", "resolved", **labels))).status_code == 200
    processing.process_signals()
    assert Alert.objects.get().is_open


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"version": "4", "alerts": ' + b"[" * 50_000, b"\xff\xfe", b"1" * 10_000]
)
def test_deep_and_odd_json(token: str, body: bytes) -> None:
    assert post(token, body).status_code == 400
