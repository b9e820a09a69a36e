"""The walk of access: asked for, decided with a second factor, used, given back, and told by the trail.

With DAYTWO_DOCS_SHOTS=1 (`make docs-shots`) it leaves its screenshots in docs/walks/access/.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from playwright.sync_api import Browser, BrowserContext, Page, expect

from .conftest import ROOT, Portal

pytestmark = pytest.mark.browser

SHOTS = ROOT / "docs" / "walks" / "access"


def shot(page: Page, name: str) -> None:
    if os.environ.get("DAYTWO_DOCS_SHOTS"):
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(SHOTS / f"{name}.png"), animations="disabled")


def code(secret: str) -> str:
    """The authenticator's code now; waits out the last seconds of its half minute."""
    if time.time() % 30 > 25:
        time.sleep(6)
    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30)))


def next_half_minute() -> None:
    """A code is good once; the next one comes with the next half minute."""
    time.sleep(30 - time.time() % 30 + 0.5)


@pytest.fixture
def lead_page(chromium: Browser) -> Page:
    context: BrowserContext = chromium.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(20_000)
    yield context.new_page()  # type: ignore[misc]
    context.close()


def set_up_totp(page: Page, portal: Portal) -> str:
    """Give the lead an authenticator; gives its secret."""
    portal.sign_in(page, "axel")
    page.goto(portal.address + "/accounts/2fa/totp/activate/")
    secret = page.locator("#authenticator_secret, input[readonly], input[disabled]").first.input_value()
    page.locator("input[name=code]").fill(code(secret))
    page.locator("main button[type=submit], form button[type=submit]").last.click()
    expect(page).to_have_url(re.compile("/accounts/2fa/"))
    page.context.clear_cookies()
    return secret


def test_shots_of_the_walk(portal: Portal, page: Page, lead_page: Page, tmp_path: Path) -> None:
    secret = set_up_totp(lead_page, portal)

    # Vera sees everything and reads no logs.
    portal.sign_in(page, "vera")
    page.goto(portal.address + "/instances/?q=globex-prod")
    page.get_by_role("link", name="globex-prod", exact=True).click()
    expect(page.get_by_role("heading", name="globex-prod")).to_be_visible()
    logs = page.url.rstrip("/") + "/logs/"
    assert page.goto(logs).status == 403  # type: ignore[union-attr]

    # She asks for two hours on the one tenant.
    page.goto(portal.address + "/access/requests/ask/")
    page.get_by_label("Role").select_option(label="support")
    page.get_by_label("On", exact=True).select_option("tenant")
    page.get_by_label(re.compile("Which one")).fill("globex")
    page.get_by_label("For", exact=True).select_option("120")
    page.get_by_label("Reason").fill("the customer is on the phone, orders hang")
    shot(page, "1-ask")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_text("waiting").first).to_be_visible()
    request = page.url

    # The lead is told on the bar, approves, and is asked for the second factor first.
    portal.sign_in(lead_page, "axel")
    expect(lead_page.get_by_text("access request").first).to_be_visible()
    lead_page.goto(request)
    shot(lead_page, "2-decide")
    next_half_minute()
    lead_page.get_by_role("button", name=re.compile("Grant for 2 h")).click()
    expect(lead_page).to_have_url(re.compile("/accounts/2fa/reauthenticate/"))
    lead_page.locator("input[name=code]").fill(code(secret))
    lead_page.locator("form:has(input[name=code]) button[type=submit]").first.click()
    expect(lead_page.get_by_text("granted").first).to_be_visible()

    # Her page tells by itself; she reads the logs, and gives it back.
    expect(page.get_by_text("It stands until")).to_be_visible(timeout=15_000)
    shot(page, "3-granted")
    assert page.goto(logs).status == 200  # type: ignore[union-attr]
    shot(page, "4-logs")
    page.goto(request)
    page.get_by_role("button", name="Give it back").click()
    expect(page.get_by_text("given back").first).to_be_visible()
    assert page.goto(logs).status == 403  # type: ignore[union-attr]

    # The audit page tells it all: asked, granted, read, given back, and that the grant is gone.
    for query, words in (
        ("model=access.accessrequest&action=0", "the customer is on the phone"),
        ("model=access.grant&action=0", "the customer is on the phone"),
        ("event=read&actor=vera", "logs of globex-prod"),
        ("model=access.accessrequest&action=1", "gives it back early"),
        ("model=access.grant&action=2", "given back early"),
    ):
        lead_page.goto(portal.address + f"/audit/?{query}")
        expect(lead_page.get_by_text(re.compile(words)).first, query).to_be_visible()
    lead_page.goto(portal.address + "/audit/?q=the+customer+is+on+the+phone")
    shot(lead_page, "5-trail")

    the_trail_stands_in_court(portal, tmp_path / "export")


def the_trail_stands_in_court(portal: Portal, folder: Path) -> None:
    """The export verifies without the portal; then one byte is changed in the database, and verify names the row."""
    assert portal.manage("audit", "seal").returncode == 0
    assert portal.manage("audit", "export", str(folder)).returncode == 0
    outside = subprocess.run(
        [sys.executable, "-m", "apps.audit.outside", str(folder)],
        cwd=ROOT, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert outside.returncode == 0, outside.stdout + outside.stderr
    assert portal.manage("audit", "verify").returncode == 0
    with psycopg.connect(portal.database_url) as database:
        database.execute("SET session_replication_role = replica")
        found = database.execute(
            "UPDATE audit_auditentry SET reason = overlay(reason placing 'X' from 1 for 1)"
            " WHERE reason = 'gives it back early' RETURNING id"
        ).fetchone()
    assert found
    verdict = portal.manage("audit", "verify")
    assert verdict.returncode != 0
    assert f"entry {found[0]}: changed" in verdict.stdout + verdict.stderr
