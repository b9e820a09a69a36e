"""The portal's own heartbeat: it goes out while alerting works, and not while signals stand still."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django.utils import timezone

from apps.alerts import watching
from apps.alerts.models import Escalation, Incident, Page, Signal
from tests.factories import as_system

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def watcher(settings: Any) -> Iterator[list[str]]:
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings.ALERTS_WATCHER_URL = f"http://127.0.0.1:{server.server_port}/beat"
    yield heard
    server.shutdown()
    server.server_close()


def waiting(seconds: float) -> None:
    at = timezone.now() - timedelta(seconds=seconds)
    Signal.objects.create(source_name="x", fingerprint="x", state="firing", name="x", received_at=at)


def test_a_sign_of_life_goes_out(watcher: list[str]) -> None:
    assert watching.beat()
    waiting(5)
    assert watching.beat()
    assert watcher == ["/beat", "/beat"]


def test_none_goes_out_while_signals_stand_still(
    watcher: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    waiting(watching.STUCK + 5)
    assert not watching.beat()
    assert watcher == []
    assert "waiting for more than" in caplog.text
    Signal.objects.update(processed_at=timezone.now())
    assert watching.beat()


def test_a_watcher_that_is_away_stops_nothing(settings: Any) -> None:
    settings.ALERTS_WATCHER_URL = "http://127.0.0.1:9/secret-token"
    assert not watching.beat()


def test_nobody_is_told_where_nobody_watches(settings: Any) -> None:
    settings.ALERTS_WATCHER_URL = ""
    assert not watching.beat()


@pytest.mark.parametrize("what", ["a step", "a page", "a page that a dead worker held"])
def test_nor_while_nobody_is_told(watcher: list[str], caplog: pytest.LogCaptureFixture, what: str) -> None:
    """Signals may be worked through while steps or pages are not."""
    ago = timezone.now() - timedelta(seconds=watching.STUCK + 5)
    if what == "a step":
        with as_system():
            incident = Incident.objects.create(title="x", cause_key="x", severity="critical")
        row: Escalation | Page = Escalation.objects.create(incident=incident, next_at=ago)
    elif what == "a page":
        row = Page.objects.create(title="x", body="x", next_at=ago)
    else:
        row = Page.objects.create(title="x", body="x", state="sending", next_at=ago, lease_until=ago)
    assert not watching.beat()
    assert "for more than 120 s" in caplog.text
    type(row).objects.update(state="ended" if what == "a step" else "sent")
    assert watching.beat()
    assert watcher == ["/beat"]
