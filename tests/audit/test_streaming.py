"""Each entry reaches the SIEM at least once, in order and without a gap, through failures and killed workers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.audit import sealing, sinks, streaming
from apps.audit.models import AuditEntry, AuditSeal, AuditStream
from apps.core.models import Event
from apps.tenants.models import Tenant
from tests import factories

SECRET = "canary-secret-of-the-stream"


class Sink:
    """A receiver that keeps what it took, and fails when told to."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.failing, self.pause, self.headers = 0, 0.0, {}
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = 200
                if sink.failing:
                    sink.failing, status = sink.failing - 1, 503
                else:
                    wanted = sinks.signature(SECRET, self.headers["X-Daytwo-Timestamp"], body)
                    assert self.headers["X-Daytwo-Signature"] == f"sha256={wanted}"
                    sink.headers = dict(self.headers)
                    sink.ids += [json.loads(line)["id"] for line in body.splitlines()]
                    time.sleep(sink.pause)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/in"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    monkeypatch.setenv("AUDIT_STREAM_TEST", SECRET)
    monkeypatch.setattr(streaming, "BATCH", 3)
    made = Sink()
    yield made
    made.server.shutdown()
    made.server.server_close()


def make_stream(url: str, kind: str = "webhook") -> AuditStream:
    with factories.as_system():
        return AuditStream.objects.create(name="siem", kind=kind, url=url, secret_env="AUDIT_STREAM_TEST")


def record(count: int) -> None:
    with factories.as_system():
        for _ in range(count):
            Tenant.objects.create(key=f"t-{time.monotonic_ns()}", name="x")


def sealed_ids() -> list[int]:
    return list(AuditEntry.objects.order_by("pk").values_list("pk", flat=True))


@pytest.mark.django_db
class TestDelivery:
    def test_all_that_is_sealed_in_order_and_once(self, sink: Sink) -> None:
        stream = make_stream(sink.url)
        record(8)
        sealing.seal()
        ids = sealed_ids()
        record(1)  # not sealed yet
        assert streaming.deliver_due() == len(ids)
        assert sink.ids == ids
        seal = AuditSeal.objects.get()
        assert sink.headers["X-Daytwo-Seal"] == f"{seal.number}:{seal.hash}"
        assert streaming.deliver_due() == 0
        sealing.seal()
        assert streaming.deliver_due() == 1
        stream.refresh_from_db()
        assert (stream.sent_to, stream.failures, stream.lease) == (sealed_ids()[-1], 0, None)

    def test_a_sink_that_fails_for_a_while(self, sink: Sink) -> None:
        stream = make_stream(sink.url)
        record(7)
        sealing.seal()
        sink.failing = 3
        now = timezone.now()
        pauses = []
        for _ in range(3):
            with time_machine.travel(now, tick=False):
                assert streaming.deliver_due() == 0
                assert streaming.deliver_due() == 0, "it waits"
            stream.refresh_from_db()
            pauses.append((stream.next_try_at - now).total_seconds())
            now = stream.next_try_at
        assert (pauses, stream.last_error) == ([1, 2, 4], "answered 503")
        with time_machine.travel(now, tick=False):
            streaming.deliver_due()
        assert sink.ids == sealed_ids()
        stream.refresh_from_db()
        assert (stream.failures, stream.last_error, stream.next_try_at) == (0, "", None)

    def test_a_sink_that_is_not_there(self, sink: Sink) -> None:
        sink.server.shutdown()
        sink.server.server_close()
        stream = make_stream(sink.url)
        sealing.seal()
        assert streaming.deliver_due() == 0
        stream.refresh_from_db()
        assert "refused" in stream.last_error.lower()

    def test_without_its_secret_nothing_leaves(self, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AUDIT_STREAM_TEST")
        stream = make_stream(sink.url)
        sealing.seal()
        streaming.deliver_due()
        stream.refresh_from_db()
        assert (sink.ids, "no AUDIT_STREAM_TEST" in stream.last_error) == ([], True)

    def test_one_worker_at_a_time_and_a_lost_lease_writes_nothing(self, sink: Sink) -> None:
        stream = make_stream(sink.url)
        record(2)
        sealing.seal()
        assert streaming._take(stream.pk, one := __import__("uuid").uuid4(), 60)
        assert streaming.deliver(stream.pk) == 0
        AuditStream.objects.filter(pk=stream.pk).unrecorded_update(
            lease_until=timezone.now() - timedelta(seconds=1)
        )
        late = AuditStream.objects.get(pk=stream.pk)
        assert streaming.deliver(stream.pk) > 0
        assert streaming._send_next(late, one, 60) == 0  # sent again, and moved nothing
        late.refresh_from_db()
        assert late.sent_to == sealed_ids()[-1]

    def test_switched_off_it_sends_nothing(self, sink: Sink) -> None:
        stream = make_stream(sink.url)
        with factories.as_system():
            AuditStream.objects.filter(pk=stream.pk).update(is_enabled=False)
        sealing.seal()
        assert (streaming.deliver_due(), sink.ids) == (0, [])

    def test_syslog(self, sink: Sink) -> None:
        server = socket.create_server(("127.0.0.1", 0))
        taken = bytearray()

        def receive() -> None:
            for _ in range(2):
                link, _ = server.accept()
                with link:
                    while part := link.recv(4096):
                        taken.extend(part)

        thread = threading.Thread(target=receive, daemon=True)
        thread.start()
        make_stream(f"syslog://127.0.0.1:{server.getsockname()[1]}", "syslog")
        factories.make_account("Zürich")
        sealing.seal()
        streaming.BATCH = 3
        ids = sealed_ids()[:6]
        AuditStream.objects.unrecorded_update(sent_to=sealed_ids()[-1] - 1)
        streaming.deliver_due()
        length, _, rest = bytes(taken).partition(b" ")
        assert len(rest) == int(length)
        head, _, line = rest.partition(b"\xef\xbb\xbf")
        assert head.startswith(b"<109>1 20")
        assert b' daytwo - audit [daytwo@32473 id="' in head
        assert "Zürich" in json.loads(line)["object_repr"]
        assert ids
        server.close()


@pytest.mark.django_db(transaction=True)
def test_a_killed_worker_leaves_no_gap(sink: Sink) -> None:
    """A worker process is killed while a batch is on its way; another goes on when its lease has run out."""
    stream = make_stream(sink.url)
    record(30)
    sealing.seal()
    sink.pause = 0.15
    code = (
        "import django; django.setup(); from apps.audit import streaming; streaming.BATCH = 3; "
        f"streaming.deliver({stream.pk}, lease_seconds=1.0)"
    )
    database = connection.settings_dict
    url = f"postgresql://{database['USER']}@{database['HOST']}:{database['PORT']}/{database['NAME']}"
    worker = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "portal.settings"},
        cwd=Path(streaming.__file__).parents[2],
    )
    deadline = time.monotonic() + 30
    while len(sink.ids) < 9 and time.monotonic() < deadline:
        time.sleep(0.01)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    before, sink.pause = list(sink.ids), 0.0
    assert 0 < len(set(before)) < len(sealed_ids())
    while len(set(sink.ids)) < len(sealed_ids()) and time.monotonic() < deadline:
        streaming.deliver_due()
        time.sleep(0.05)
    assert list(dict.fromkeys(sink.ids)) == sealed_ids(), "in order, none missing"
    assert len(sink.ids) - len(set(sink.ids)) <= 3, "no more than the batch on its way is sent twice"


@pytest.mark.django_db
class TestConfiguration:
    @pytest.mark.parametrize(
        ("kind", "url", "secret"),
        [
            ("webhook", "https://siem.example/in", ""),
            ("webhook", "ftp://siem.example/in", "AUDIT_STREAM_X"),
            ("webhook", "https://me:pw@siem.example/in", "AUDIT_STREAM_X"),
            ("webhook", "https://siem.example/in", "SECRET_KEY"),
            ("syslog", "https://siem.example", ""),
        ],
    )
    def test_what_cannot_work_is_refused(self, kind: str, url: str, secret: str) -> None:
        with pytest.raises(ValidationError):
            AuditStream(name="x", kind=kind, url=url, secret_env=secret).full_clean()

    def test_in_production_it_leaves_encrypted(self, settings: Any) -> None:
        stream = AuditStream(
            name="x", kind="webhook", url="http://siem.example/in", secret_env="AUDIT_STREAM_X"
        )
        stream.full_clean()
        settings.PRODUCTION = True
        with pytest.raises(ValidationError, match="https only"):
            stream.full_clean()


@pytest.mark.django_db
def test_the_page_tells_how_far_each_stream_got(sink: Sink) -> None:
    root = factories.make_user(superuser=True)
    client = Client()
    client.force_login(root, backend="django.contrib.auth.backends.ModelBackend")
    make_stream(sink.url)
    sealing.seal()
    sink.failing = 1
    streaming.deliver_due()
    text = client.get(reverse("audit:streams")).content.decode()
    for part in ("siem", "answered 503", "127.0.0.1"):
        assert part in text, part
    assert SECRET not in text


@pytest.mark.django_db
def test_a_failing_stream_is_tried_at_once_when_somebody_asks(sink: Sink) -> None:
    root = factories.make_user(superuser=True)
    client = Client()
    client.force_login(root, backend="django.contrib.auth.backends.ModelBackend")
    stream = make_stream(sink.url)
    sealing.seal()
    sink.failing = 1
    assert streaming.deliver_due() == 0
    assert streaming.deliver_due() == 0  # it pauses
    button = "Try the failing ones now"
    assert button in client.get(reverse("audit:streams")).content.decode()
    assert client.post(reverse("audit:retry_streams")).status_code == 302
    assert streaming.deliver_due() > 0
    stream.refresh_from_db()
    assert stream.failures == 0
    before = Event.objects.count()
    client.post(reverse("audit:retry_streams"))  # none is failing
    assert button not in client.get(reverse("audit:streams")).content.decode()
    assert Event.objects.count() == before
