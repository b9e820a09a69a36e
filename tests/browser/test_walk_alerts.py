"""Told before the customer is, on real processes: a fault mends itself, one that cannot reaches a person, once.

With DAYTWO_DOCS_SHOTS=1 (`make docs-shots`) it leaves its screenshots in docs/walks/alerts/.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from .conftest import ROOT, Portal

pytestmark = pytest.mark.browser

SHOTS = ROOT / "docs" / "walks" / "alerts"


def shot(page: Page, name: str) -> None:
    if os.environ.get("DAYTWO_DOCS_SHOTS"):
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(SHOTS / f"{name}.png"), animations="disabled", full_page=True)


@pytest.fixture
def sink() -> Iterator[Any]:
    """A local HTTP service that keeps what it was told."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            server.got.append(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server: Any = HTTPServer(("127.0.0.1", 0), Handler)
    server.got = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def fill(page: Page, path: str, **fields: str) -> None:
    """Fill a form of alerting by its fields' names, and send it."""
    page.goto(path)
    for name, value in fields.items():
        field = page.locator(f"main [name={name}]")
        if field.evaluate("e => e.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)
    page.locator("main form button[type=submit]").last.click()


def prepare(page: Page, at: str, sink: Any) -> None:
    """Ada is on call, told by the sink; a recovery policy restarts what fails."""
    fill(page, f"{at}/alerts/channels/new/", name="adas", address=f"json://127.0.0.1:{sink.server_port}/")
    page.get_by_role("button", name=re.compile("^Test")).click()
    deadline = time.monotonic() + 20
    while not sink.got and time.monotonic() < deadline:
        time.sleep(0.2)
    assert "tests the channel" in sink.got[0]
    fill(page, f"{at}/alerts/on-call/new/", name="first line", order="admin")
    expect(page.get_by_text("Ada Admin").first).to_be_visible()
    page.goto(f"{at}/alerts/escalation/new/")
    page.locator("main [name=name]").fill("tell the first line")
    page.locator("main [name=target_1]").select_option(label="on call: first line")
    page.locator("main form button[type=submit]").last.click()
    expect(page.get_by_text("1. on call: first line").first).to_be_visible()
    fill(
        page, f"{at}/alerts/recovery/new/", name="restart what fails", cooldown="0", tries="5", breaker_after="2", grace="5",
    )  # fmt: skip
    expect(page.get_by_role("heading", name="restart what fails")).to_be_visible()


def kill(portal: Portal, instance: str) -> float:
    os.kill(portal.pid_of(instance), signal.SIGKILL)
    return time.monotonic()


def test_shots_of_the_alerts(portal: Portal, page: Page, sink: Any) -> None:
    at = portal.address
    portal.sign_in(page, "admin")
    prepare(page, at, sink)
    sink.got.clear()

    # A tenant's process dies: an incident, a page, a restart, and it resolves by itself.
    page.goto(f"{at}/alerts/incidents/")
    killed = kill(portal, "umbrella-prod")
    expect(page.get_by_role("link", name=re.compile("umbrella-prod")).first).to_be_visible(timeout=30_000)
    seen = time.monotonic() - killed
    page.get_by_role("link", name=re.compile("umbrella-prod")).first.click()
    expect(page.get_by_role("link", name="Umbrella", exact=True)).to_be_visible()
    expect(page.get_by_text("helped").first).to_be_visible(timeout=60_000)
    helped = time.monotonic() - killed
    shot(page, "1-recovered")
    deadline = time.monotonic() + 30
    while not sink.got and time.monotonic() < deadline:
        time.sleep(0.2)
    assert "umbrella-prod" in sink.got[0]
    print(f"killed → incident on the page {seen:.1f} s, → recovery judged {helped:.1f} s")
    expect(page.locator("main header").get_by_text("resolved", exact=False).first).to_be_visible(
        timeout=90_000
    )
    assert len(sink.got) == 1, "one page for one incident"

    # A version that never becomes healthy is deployed by hand around the engine's own way back.
    sink.got.clear()
    break_for_good(portal, "initech-prod")
    page.goto(f"{at}/alerts/incidents/?state=open")
    expect(page.get_by_role("link", name=re.compile("initech-prod")).first).to_be_visible(timeout=60_000)
    page.get_by_role("link", name=re.compile("initech-prod")).first.click()
    incident = page.url
    expect(page.get_by_text("did not help").first).to_be_visible(timeout=150_000)
    expect(page.get_by_text(re.compile("stopped: 2 answers in a row did not help")).first).to_be_visible(
        timeout=150_000
    )
    shot(page, "2-breaker")
    assert sink.got and "initech-prod" in sink.got[0]
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_text("acknowledged").first).to_be_visible()
    mend(portal, "initech-prod")
    page.goto(f"{at}/alerts/recovery/")
    page.get_by_role("link", name="restart what fails").first.click()
    shot(page, "3-policy")
    page.get_by_role("button", name="Close the breaker").click()
    page.goto(incident)
    expect(page.locator("main header").get_by_text("resolved", exact=False).first).to_be_visible(
        timeout=120_000
    )
    with page.expect_download() as download:
        page.get_by_role("link", name="Post-mortem").click()
    text = download.value.path().read_text()
    for words in (
        "# Post-mortem",
        "Initech",
        "Acknowledged by Ada Admin",
        "did not help",
        "## What will be done",
    ):
        assert words in text, text
    shot(page, "4-resolved")


def break_for_good(portal: Portal, instance: str) -> None:
    """Its process crashes on each start from now on: the version's program ends as it starts, as a bad disk would do."""
    app = _app(portal, "4.12.3")
    app.with_suffix(".kept").write_bytes(app.read_bytes())
    app.chmod(0o644)
    app.write_text("import sys\nsys.exit('the disk is gone')\n")
    kill(portal, instance)


def mend(portal: Portal, instance: str) -> None:
    """The disk is back, and somebody starts it."""
    app = _app(portal, "4.12.3")
    app.write_bytes(app.with_suffix(".kept").read_bytes())
    code = (
        "import django; django.setup()\n"
        "from apps.access.models import User\nfrom apps.fleet.models import Instance\nfrom apps.operations.services import submit\n"
        f"submit(kind='restart', target_id=Instance.objects.get(name={instance!r}).pk, "
        "actor=User.objects.get(username='admin'), reason='the disk is back')\n"
    )
    environment = {**portal.environment, "DJANGO_SETTINGS_MODULE": "portal.settings", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)


def _app(portal: Portal, version: str) -> Any:
    found = sorted(portal.data.glob(f"**/versions/{version}/app.py"))
    assert found, "the local fleet keeps its versions elsewhere now"
    return found[0]
