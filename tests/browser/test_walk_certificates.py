"""Certificates on real processes: rotated under load by the internal authority, then by a real ACME directory (pebble).

With DAYTWO_DOCS_SHOTS=1 (`make docs-shots`) it leaves its screenshots in docs/walks/certificates/.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from apps.fleet.providers.local.authority import Authority
from apps.fleet.providers.local.files import read_record
from tests.fleet import pebble
from tests.fleet.local import visitors

from .conftest import ROOT, Portal

pytestmark = pytest.mark.browser

SHOTS = ROOT / "docs" / "walks" / "certificates"
INSTANCE = "globex-prod"


def shot(page: Page, name: str) -> None:
    if os.environ.get("DAYTWO_DOCS_SHOTS"):
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(SHOTS / f"{name}.png"), animations="disabled", full_page=True)


def served(port: int) -> str:
    """The certificate of a fresh handshake, as PEM."""
    return ssl.get_server_certificate(("127.0.0.1", port))


def rotate(page: Page, address: str) -> None:
    """By the instance's page, as an operator does."""
    page.goto(f"{address}/instances/?q={INSTANCE}")
    page.get_by_role("link", name=INSTANCE, exact=True).first.click()
    page.locator("main summary", has_text="More").click()
    page.get_by_role("link", name="Rotate certificate").click()
    page.get_by_label("Why").fill("it ends soon")
    page.get_by_role("button", name="Rotate certificate").click()
    expect(page.get_by_text("succeeded", exact=False).first).to_be_visible(timeout=60_000)


def test_a_certificate_is_rotated_under_load(portal: Portal, page: Page, tmp_path: Path) -> None:
    pebble.require()
    root = portal.data / "fleet"
    record = read_record(root / "instances" / INSTANCE)
    assert record is not None
    authority = Authority(root / "authority")
    url = f"https://127.0.0.1:{record.port}/t/globex/"
    portal.sign_in(page, "admin")

    # The internal authority.
    before = served(record.port)
    with visitors(url, authority.client_context()) as failures:
        rotate(page, portal.address)
    assert failures == []
    assert served(record.port) != before
    shot(page, "1-rotated")

    # An ACME directory, which asks this portal whether the names are ours.
    port = urlsplit(portal.address).port or 0
    with pebble.running(tmp_path / "pebble", http_port=port) as ca:
        page.goto(f"{portal.address}/certificates/issuers/new/")
        fields = {
            "name": "pebble", "place": "nimbus-eu", "directory_url": ca.url, "domain": "fleet.test",
            "directory_roots": ca.ca, "roots": ca.root,
        }  # fmt: skip
        for name, value in fields.items():
            page.locator(f"main [name={name}]").fill(value)
        page.get_by_role("button", name="Save").click()
        page.get_by_role("button", name="Test it").click()
        expect(page.get_by_text(re.compile("pebble answers; the account is"))).to_be_visible()
        authority.trust(ca.root.encode())  # as the visitors' own machines trust a public authority
        before = served(record.port)
        with visitors(url, authority.client_context()) as failures:
            rotate(page, portal.address)
        assert failures == []
        after = served(record.port)
        assert after != before
        page.goto(f"{portal.address}/certificates/")
        page.get_by_role("link", name="pebble issues in nimbus-eu").click()
        expect(page.get_by_text("Issued", exact=True).first).to_be_visible()
        shot(page, "2-issuer")
    page.goto(f"{portal.address}/certificates/")
    expect(page.get_by_text("pebble (ACME)").first).to_be_visible()
    shot(page, "3-inventory")
    deadline = time.monotonic() + 20
    page.goto(f"{portal.address}/instances/?q={INSTANCE}")
    while "Well" not in page.locator("main table").inner_text() and time.monotonic() < deadline:
        page.reload()
    assert "Well" in page.locator("main table").inner_text(), "the probes trust its root"
    with socket.create_connection(("127.0.0.1", record.port), timeout=5):
        pass
