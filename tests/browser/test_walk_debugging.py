"""From a tenant's name to the cause: charts with what was changed, logs of one request, who is noisy, a bundle to take along.

With DAYTWO_DOCS_SHOTS=1 (`make docs-shots`) it leaves its screenshots in docs/walks/debugging/.
"""

from __future__ import annotations

import os
import re
import urllib.request
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Page, expect

from apps.fleet.providers.local.provider import LocalProvider

from .conftest import ROOT, Portal

pytestmark = pytest.mark.browser

SHOTS = ROOT / "docs" / "walks" / "debugging"
SECRET = "s3cr3t-of-globex-4711"
#: An hour of figures of each local instance, now and a week ago: what a portal that has run for a week has by itself.
HISTORY = """
INSERT INTO fleet_measurement (instance_id, at, requests, errors, seconds, cpu, memory)
SELECT i.id, now() - w.back - s.n * interval '15 seconds', rate.a * (400 - s.n), 0, rate.a * (400 - s.n) * 0.02,
       rate.a * (400 - s.n) * 0.001, 40e6
FROM fleet_instance i JOIN fleet_cell c ON c.id = i.cell_id
CROSS JOIN generate_series(1, 239) AS s(n)
CROSS JOIN (VALUES (interval '0'), (interval '7 days')) AS w(back)
CROSS JOIN LATERAL (SELECT 20 + 5 * (i.id % 4) + CASE WHEN w.back > interval '0' THEN 8 ELSE 0 END AS a) rate
WHERE c.provider = 'local'
"""


def shot(page: Page, name: str) -> None:
    if os.environ.get("DAYTWO_DOCS_SHOTS"):
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(SHOTS / f"{name}.png"), animations="disabled", full_page=True)


class Visitor:
    """A tenant's client."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        self.trust = LocalProvider(portal.fleet).authority.client_context()

    def ask(self, instance: str, path: str, request: str = "", times: int = 1) -> None:
        host, port = self.portal.endpoint(instance)
        headers = {"X-Request-ID": request} if request else {}
        for _ in range(times):
            asked = urllib.request.Request(f"https://{host}:{port}/t/{path}", headers=headers)
            urllib.request.urlopen(asked, context=self.trust, timeout=5).read()


def confirm(page: Page, reason: str, button: str, **fields: str) -> None:
    """Fill the form of an operation, and see it succeed."""
    form = page.locator("dialog[open] form[method=post], #action form[method=post]").first
    for label, value in fields.items():
        form.get_by_label(re.compile(label, re.I)).select_option(value)
        expect(form.get_by_text(f"goes to {value}")).to_be_visible()
    form.get_by_label(re.compile("reason|why", re.I)).fill(reason)
    form.get_by_role("button", name=re.compile(button, re.I)).click()
    expect(page).to_have_url(re.compile(r"/operations/\d+/"))
    expect(page.get_by_text(re.compile("^succeeded", re.I)).first).to_be_visible(timeout=30_000)


def tab(page: Page, name: str) -> None:
    page.locator(".tabs, nav").get_by_role("link", name=name, exact=True).first.click()


def columns(page: Page, chart: str) -> Any:
    """What the table of figures below a chart names, once it is drawn."""
    panel = page.locator(".panel", has=page.locator(f"#chart-{chart}"))
    panel.locator("summary", has_text="Figures").click()
    expect(panel.locator("table th").first).to_be_visible()
    return panel.locator("table")


def test_shots_of_the_debugging(portal: Portal, page: Page) -> None:
    visitor = Visitor(portal)
    with psycopg.connect(portal.database_url, autocommit=True) as database:
        database.execute(HISTORY)
    portal.sign_in(page, "admin")

    # A new version; then the tenant complains, with the id of a request.
    page.goto(f"{portal.address}/instances/?q=globex-prod")
    page.get_by_role("link", name="globex-prod", exact=True).click()
    instance = page.url
    page.get_by_role("link", name="Deploy", exact=True).first.click()
    confirm(page, "the next one", "deploy", version="4.12.6")
    visitor.ask("globex-prod", f"globex/orders?token={SECRET}", "walk-7")
    visitor.ask("globex-prod", "globex/orders", times=5)

    # From the tenant's page to its instance.
    page.goto(f"{portal.address}/tenants/lookup/?q=globex")
    page.get_by_role("link", name="Globex", exact=True).first.click()
    expect(page.get_by_role("heading", name="Globex", exact=True)).to_be_visible()
    shot(page, "1-tenant")
    page.locator("main").get_by_role("link", name="globex-prod", exact=True).first.click()
    expect(page.get_by_role("heading", name="globex-prod")).to_be_visible()

    # Its figures beside the others' and last week's, with the deployment drawn on them.
    tab(page, "Metrics")
    mark = page.locator("#chart-requests .chart__mark").first
    expect(mark).to_have_attribute("aria-label", re.compile("Deploy.*4.12.6"))
    for words in ("the others in its cell", "last week"):
        link = page.get_by_role("navigation", name="Compared with").get_by_role("link", name=words)
        if link.get_attribute("aria-current") is None:
            link.click()
        expect(link).to_have_attribute("aria-current", "true")
    figures = columns(page, "requests")
    for words in ("last week", re.compile("median|others|cell")):
        expect(figures.locator("th").filter(has_text=words).first).to_be_visible()
    page.locator(".panel", has=page.locator("#chart-requests")).locator("summary").click()
    shot(page, "2-charts")

    # What changed in the hour before names it.
    tab(page, "What changed")
    expect(page.locator("main").get_by_text(re.compile("Deploy.*4.12.6")).first).to_be_visible()
    shot(page, "3-changes")

    # The lines of that request, a secret in it hidden; a further one comes in by itself.
    tab(page, "Logs")
    page.get_by_label("Request").fill("walk-7")
    page.get_by_role("button", name="Show", exact=True).click()
    lines = page.locator("#logtail li")
    expect(lines).to_have_count(1)
    expect(lines.first).to_contain_text("token=[redacted]")
    visitor.ask("globex-prod", "globex/orders/again", "walk-7")
    expect(lines).to_have_count(2)
    expect(lines.last).to_contain_text("orders/again")
    shot(page, "4-logs")

    # Who is noisy on an instance that many share.
    visitor.ask("shared-eu-1", "cyberdyne/search", times=80)
    visitor.ask("shared-eu-1", "soylent/search", times=5)
    page.goto(f"{portal.address}/instances/?q=shared-eu-1")
    page.get_by_role("link", name="shared-eu-1", exact=True).click()
    tab(page, "Metrics")
    expect(page.locator("#neighbours tbody tr").first).to_contain_text("Cyberdyne")
    shot(page, "5-neighbours")

    # A bundle to take along, without the secret.
    page.goto(instance)
    tab(page, "Diagnostics")
    page.get_by_role("link", name="Collect diagnostics").last.click()
    confirm(page, "for whoever mends it", "collect|diagnos")
    page.goto(instance)
    tab(page, "Diagnostics")
    shot(page, "6-bundle")
    with page.expect_download() as download:
        page.get_by_role("link", name=".txt").first.click()
    text = download.value.path().read_text()
    assert "walk-7" in text and "token=[redacted]" in text
    assert SECRET not in text
    assert SECRET not in page.content()
