"""A certificate near its end is seen, rotated while clients ask without pause, and its alert is over.

With DAYTWO_DOCS_SHOTS=1 (`make docs-shots`) it leaves its screenshots in docs/walks/certificates/.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from hashlib import sha256

import pytest
from playwright.sync_api import Page, expect

from apps.fleet.providers.base import Target
from apps.fleet.providers.local.provider import LocalProvider
from tests.fleet.local import visitors

from .conftest import ROOT, Portal

pytestmark = pytest.mark.browser

SHOTS = ROOT / "docs" / "walks" / "certificates"
NAME = "globex-prod"


def shot(page: Page, name: str) -> None:
    if os.environ.get("DAYTWO_DOCS_SHOTS"):
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(SHOTS / f"{name}.png"), animations="disabled")


class Globex:
    """The tenant's instance, as a client of it and as somebody at its machine meet it."""

    def __init__(self, portal: Portal) -> None:
        self.provider = LocalProvider(portal.fleet)
        self.trust = self.provider.authority.client_context()
        self.place = portal.endpoint(NAME)

    def serve_one_that_ends_soon(self) -> None:
        chain, key = self.provider.authority.issue([NAME, "127.0.0.1"], days=0.9)
        self.provider.present_certificate(Target(1, NAME, "", ""), chain_pem=chain, key_pem=key)

    def handshake(self) -> str:
        """SHA-256 of the certificate that it serves, which has to hold for its address."""
        with (
            socket.create_connection(self.place, timeout=5) as plain,
            self.trust.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            served = secure.getpeercert(binary_form=True)
        assert served is not None
        return sha256(served).hexdigest()


def come_to(page: Page, url: str, words: str | re.Pattern[str], seconds: float = 45) -> None:
    """Open a page again and again until it shows something: the clock looks every few seconds."""
    for _ in range(int(seconds)):
        page.goto(url)
        found = page.locator("main").get_by_text(words).first
        if found.is_visible():
            return
        page.wait_for_timeout(1_000)
    raise AssertionError(f"{url} never showed {words}")


def test_shots_of_the_certificates(portal: Portal, page: Page) -> None:
    at, globex = portal.address, Globex(portal)
    inventory = f"{at}/certificates/"
    portal.sign_in(page, "admin")
    globex.serve_one_that_ends_soon()
    before = globex.handshake()

    # The inventory tells what a handshake saw; the report counts what somebody has to look at.
    come_to(page, f"{inventory}?problem=1", NAME)
    page.goto(inventory)
    row = page.locator("tr", has=page.get_by_role("link", name=NAME, exact=True))
    expect(row.get_by_text("within 1 day")).to_be_visible()
    expect(page.locator(".kpi", has_text="Ends within 1 day").locator("strong")).to_have_text("1")
    shot(page, "1-inventory")

    # Whoever is on call hears of it.
    come_to(page, f"{at}/alerts/incidents/", re.compile(f"certificate of {NAME} ends within 1 day"))
    page.get_by_role("link", name=re.compile(f"certificate of {NAME}")).first.click()
    expect(page.get_by_role("link", name="Globex", exact=True)).to_be_visible()
    incident = page.url
    shot(page, "2-incident")

    # Rotated from where one is, while clients ask without pause.
    url = f"https://{globex.place[0]}:{globex.place[1]}/healthz"
    with visitors(url, globex.trust) as failures:
        page.get_by_role("link", name=re.compile("^Rotate certificate")).click()
        form = page.locator("dialog[open] form[method=post], #action form[method=post]").first
        form.get_by_label(re.compile("reason|why", re.I)).fill("it ends tomorrow")
        shot(page, "3-preview")
        form.get_by_role("button", name=re.compile("rotate", re.I)).click()
        expect(page).to_have_url(re.compile(r"/operations/\d+/"))
        expect(page.get_by_text(re.compile("^succeeded", re.I)).first).to_be_visible()
        after = globex.handshake()
    assert failures == [], "a client was refused"
    assert after != before
    shot(page, "4-rotated")

    # The new one is what is served, and the alert is over.
    page.goto(inventory)
    expect(row.get_by_text("within 1 day")).to_have_count(0)
    page.goto(incident)
    expect(page.locator("main header").get_by_text("resolved", exact=False).first).to_be_visible(
        timeout=45_000
    )
    for words in (
        f"Alert: The certificate of {NAME} ends within 1 day",
        "Rotate certificate of",
        "Resolved:",
    ):
        expect(page.get_by_text(re.compile(words)).first).to_be_visible()
    shot(page, "5-resolved")


def test_a_client_that_trusts_nobody_would_notice(portal: Portal) -> None:
    """The walk's clients verify what they are served: one without the fleet's authority is refused."""
    with (
        socket.create_connection(portal.endpoint(NAME), timeout=5) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        ssl.create_default_context().wrap_socket(plain, server_hostname="127.0.0.1")
