"""The money's walk on a real bill: import, a rule by tag, tenants' cost, two that lose money, the price lab, export.

With DAYTWO_DOCS_SHOTS=1 (`make docs-shots`) it leaves its screenshots in docs/walks/cost/.
"""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from .conftest import ROOT, Portal

pytestmark = pytest.mark.browser

SHOTS = ROOT / "docs" / "walks" / "cost"
SAMPLE = ROOT / "tests" / "data" / "focus-1.0-sample.csv"
SEPTEMBER = "14.42598547521"
#: Two customers of the sample's provider, who pay less than they cost, and one who pays enough.
WORLD = """
from datetime import date
from apps.access.services import system_actor
from apps.core.context import acting
from apps.cost.models import Rate
from apps.tenants.models import Plan, Subscription, Tenant
with acting(system_actor("command"), reason="walk", via="command"):
    plan = Plan.objects.create(name="Penny", rank=0, monthly_price="0.10")
    for key in ("brightpathmatrix", "zoommapmax", "syncpulsesphere"):
        tenant = Tenant.objects.create(key=key, name=key.title())
        price = "0.10" if key == "syncpulsesphere" else "0.01"
        Subscription.objects.create(tenant=tenant, plan=plan, monthly_price=price, starts_on=date(2024, 1, 1))
    Rate.objects.create(currency="USD", into="EUR", day=date(2024, 9, 1), rate="0.9")
"""


def shot(page: Page, name: str) -> None:
    if os.environ.get("DAYTWO_DOCS_SHOTS"):
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(SHOTS / f"{name}.png"), animations="disabled")


def test_shots_of_the_walk(portal: Portal, page: Page, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "manage.py", "shell", "-c", WORLD], cwd=ROOT, env=portal.environment, check=True
    )
    portal.sign_in(page, "admin")

    # The bill comes in.
    page.get_by_role("link", name="Cost", exact=True).click()
    page.get_by_role("link", name="Import a bill").first.click()
    page.get_by_label("Files").set_input_files(str(SAMPLE))
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_text("Imported").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("500 lines").first).to_be_visible()
    expect(page.get_by_text("usage.negative").first).to_be_visible()
    shot(page, "1-bill")

    # What is unallocated, and the rule that would help.
    page.goto(f"{portal.address}/cost/unallocated/?month=2024-09")
    expect(page.locator(f'[title="{SEPTEMBER} USD"]').first).to_be_visible()
    row = page.get_by_role("row", name=re.compile("tag “application” names the tenant"))
    shot(page, "2-unallocated")
    row.get_by_role("button", name="Add to the draft").click()
    expect(page.get_by_role("heading", name=re.compile("Draft, version"))).to_be_visible()
    page.goto(f"{portal.address}/cost/rules/?month=2024-09")
    page.get_by_role("link", name="Preview").click()
    expect(page.get_by_role("heading", name=re.compile("What the draft makes of"))).to_be_visible()
    shot(page, "3-preview")
    page.get_by_label("What changes, and why").fill("the tag application names the tenant")
    page.get_by_role("button", name="Activate the draft").click()
    expect(page.get_by_role("heading", name=re.compile("Active, version"))).to_be_visible()
    for _ in range(30):
        if not page.get_by_text("still counted by former rules").count():
            break
        page.wait_for_timeout(1_000)
        page.reload()

    # The same sum on every page.
    for name in ("", "breakdown/", "lines/"):
        page.goto(f"{portal.address}/cost/{name}?month=2024-09")
        expect(page.locator(f'[title="{SEPTEMBER} USD"]').first).to_be_visible()
        shot(page, f"4-{name.strip('/').replace('/', '-') or 'overview'}")

    # Two tenants lose money.
    page.goto(f"{portal.address}/cost/margins/?month=2024-09")
    losing = page.locator("#losing")
    expect(losing.get_by_role("link", name="Brightpathmatrix")).to_be_visible()
    shot(page, "5-margins")
    losing.get_by_role("link", name="Brightpathmatrix").click()
    expect(page.get_by_role("heading", name="Brightpathmatrix")).to_be_visible()
    shot(page, "6-tenant")

    # The price lab mends it; nobody's price changed.
    page.goto(f"{portal.address}/cost/lab/?month=2024-09")
    before = page.locator(".kpi", has_text="Lose money").locator("strong").inner_text()
    page.get_by_label(re.compile("^Penny")).fill("50")
    page.get_by_role("button", name="Try").click()
    expect(page.locator(".kpi", has_text="Lose money").locator("strong")).to_have_text("0")
    assert int(before) >= 1
    shot(page, "7-lab")

    # And out it goes, every digit.
    page.goto(f"{portal.address}/cost/breakdown/?month=2024-09&by=tenant&then=service")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    download.value.save_as(str(tmp_path / "out.csv"))
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert sum(Decimal(row["Billed"]) for row in rows) == Decimal(SEPTEMBER)

    # The books beside the bills.
    page.goto(f"{portal.address}/cost/books/rates/")
    page.get_by_label("Currency").fill("CHF")
    page.get_by_label("Into").fill("EUR")
    page.get_by_label("Rate").fill("1.05")
    page.get_by_label("Day").fill("2024-09-01")
    page.get_by_role("button", name="Add the rate").click()
    expect(page.get_by_role("cell", name="CHF")).to_be_visible()
    page.goto(f"{portal.address}/cost/units/?month=2024-09&per=component")
    expect(page.get_by_text("the bill's service").first).to_be_visible()
    page.goto(f"{portal.address}/cost/margins/?month=2024-09")
    expect(page.locator("svg.scatter a")).to_have_count(3)
    for name in ("units/", "months/", "cohorts/", "idle/", "placing/", "move/"):
        page.goto(f"{portal.address}/cost/{name}?month=2024-09")
        shot(page, f"9-{name.strip('/')}")
    for name in ("books/rates/", "books/sub-accounts/", "books/prices/", "revenue/", "anomalies/", "heavy/"):
        page.goto(f"{portal.address}/cost/{name}")
        shot(page, f"9-{name.strip('/').replace('/', '-')}")

    # On a phone, in the dark: nothing is wider than the screen.
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    for name in (
        "",
        "breakdown/",
        "lines/",
        "margins/",
        "heavy/",
        "lab/",
        "unallocated/",
        "rules/",
        "bills/",
        "usage/",
        "revenue/",
        "anomalies/",
        "units/",
        "months/",
        "cohorts/",
        "idle/",
        "placing/",
        "move/",
        "books/components/",
        "books/sources/",
        "books/prices/",
        "books/sub-accounts/",
    ):
        page.goto(f"{portal.address}/cost/{name}?month=2024-09")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
        shot(page, f"8-phone-{name.strip('/').replace('/', '-') or 'overview'}")
