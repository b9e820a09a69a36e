"""The image's health check: asks this machine under a name that the portal answers to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from portal.stack import healthcheck
from portal.stack.state import free_port


class OnlyFor(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.headers["Host"] == "daytwo.example.com" and self.path == "/healthz"
        self.send_response(200 if known else 400)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = HTTPServer(("127.0.0.1", 0), OnlyFor)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PORT", str(server.server_port))
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "hosts", ["daytwo.example.com", ".daytwo.example.com", "daytwo.example.com, other.example.com"]
)
def test_it_asks_under_the_first_allowed_host(web: None, monkeypatch: pytest.MonkeyPatch, hosts: str) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", hosts)
    assert healthcheck.main() == 0


def test_an_answer_other_than_200_is_not_healthy(web: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", "wrong.example.com")
    assert healthcheck.main() == 1


def test_no_answer_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", str(free_port()))
    assert healthcheck.main() == 1
