"""The foundation's walk, on real processes: a fault is seen, mended, patched wrongly, taken back, and told.

With DAYTWO_DOCS_SHOTS=1 (`make docs-shots`) it leaves its screenshots in docs/walks/foundation/.
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from .conftest import ROOT, Portal

pytestmark = pytest.mark.browser

SHOTS = ROOT / "docs" / "walks" / "foundation"


def shot(page: Page, name: str) -> None:
    if os.environ.get("DAYTWO_DOCS_SHOTS"):
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(SHOTS / f"{name}.png"), animations="disabled")


def act(page: Page, button: str, reason: str, **fields: str) -> None:
    """Press an action on an instance's page, say why, and confirm; ends on the operation's page."""
    page.get_by_role("link", name=button, exact=True).first.click()
    form = page.locator("dialog[open] form[method=post], #action form[method=post]").first
    for label, value in fields.items():
        form.get_by_label(re.compile(label, re.I)).select_option(value)
        # What will happen is said before it can be confirmed.
        expect(form.get_by_text(f"goes to {value}")).to_be_visible()
    form.get_by_label(re.compile("reason|why", re.I)).fill(reason)
    shot(page, f"preview-{button.lower()}")
    form.get_by_role("button", name=re.compile(button, re.I)).click()
    expect(page).to_have_url(re.compile(r"/operations/\d+/"))


def test_shots_of_the_walk(portal: Portal, page: Page) -> None:
    portal.sign_in(page, "olga")
    expect(page.get_by_role("heading", name="Fleet", exact=True)).to_be_visible()
    expect(page.get_by_text("globex-prod").first).not_to_be_visible()
    shot(page, "1-overview")

    # A tenant's process dies by hand; nobody touches the portal.
    os.kill(portal.pid_of("globex-prod"), signal.SIGKILL)
    wrong = page.locator("#wrong").get_by_role("link", name=re.compile("^globex-prod: ")).first
    expect(wrong).to_be_visible(timeout=60_000)
    shot(page, "2-down")

    # Restarted from its page.
    wrong.click()
    expect(page.get_by_role("heading", name="globex-prod")).to_be_visible()
    instance = page.url
    expect(page.get_by_text("failing").first).to_be_visible()
    act(page, "Restart", "its process was killed by hand")
    expect(page.get_by_text(re.compile("^succeeded", re.I)).first).to_be_visible()
    shot(page, "3-restarted")

    # Patched with a version that never becomes healthy; it comes back by itself.
    page.goto(instance)
    expect(page.get_by_text("well").first).to_be_visible()
    act(page, "Deploy", "hot patch for globex", version="4.12.4")
    expect(page.get_by_text(re.compile("^failed", re.I)).first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("put the old version back").first).to_be_visible()
    shot(page, "4-rolled-back")
    page.goto(instance)
    expect(page.get_by_text("4.12.3").first).to_be_visible()
    expect(page.get_by_text("well").first).to_be_visible()

    # The tenant's own page tells all of it.
    page.goto(portal.address + "/tenants/lookup/?q=globx")
    page.get_by_role("link", name="Globex", exact=True).first.click()
    expect(page.get_by_role("heading", name="Globex", exact=True)).to_be_visible()
    shot(page, "5-tenant")
    page.get_by_role("link", name="Timeline").first.click()
    for words in ("globex-prod fails", "Restart of globex-prod succeeded", "Deploy of globex-prod goes back"):
        expect(page.get_by_text(re.compile(words)).first).to_be_visible()
    shot(page, "6-timeline")
    assert Path(portal.data).exists()
