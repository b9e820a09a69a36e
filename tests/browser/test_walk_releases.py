"""The security walk, on real processes: an advisory comes in, a faulty fix stops at its canary, a good one ends the clock.

With DAYTWO_DOCS_SHOTS=1 (`make docs-shots`) it leaves its screenshots in docs/walks/releases/.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from .conftest import ROOT, Portal

pytestmark = pytest.mark.browser

SHOTS = ROOT / "docs" / "walks" / "releases"
OSV = {
    "id": "GHSA-walk-0001-test",
    "aliases": ["CVE-2026-40001"],
    "summary": "Request smuggling in the bundled HTTP server",
    "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:N"}],
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "h11"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "0.16.0"}]}],
        }
    ],
}


def shot(page: Page, name: str) -> None:
    if os.environ.get("DAYTWO_DOCS_SHOTS"):
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(SHOTS / f"{name}.png"), animations="disabled")


def sbom(path: Path, **packages: str) -> Path:
    components = [
        {"type": "library", "name": name, "purl": f"pkg:pypi/{name}@{version}"}
        for name, version in packages.items()
    ]
    path.write_text(json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.5", "components": components}))
    return path


def bring_out(page: Page, portal: Portal, version: str, kind: str, document: Path) -> None:
    """Draft a release, upload its SBOM, and bring it out."""
    page.goto(portal.address + "/releases/new/")
    page.get_by_label("Version").fill(version)
    page.get_by_label("Kind").select_option(kind)
    page.get_by_role("button", name="Draft it").click()
    page.get_by_label("JSON file").set_input_files(str(document))
    page.get_by_role("button", name="Upload an SBOM").click()
    expect(page.get_by_role("button", name="Replace the SBOM")).to_be_visible()
    for step in ("Candidate", "Released"):
        page.locator("#move-reason").fill("as planned")
        page.get_by_role("button", name=step, exact=True).click()
        expect(page.locator("header.head").get_by_text(step.lower(), exact=True)).to_be_visible()


def roll_out(page: Page, portal: Portal, advisory: str, version: str) -> None:
    """From the advisory's page to a rollout under way: prepare, look, start."""
    page.goto(advisory)
    row = page.locator("tr", has=page.get_by_role("link", name=version, exact=True))
    row.get_by_role("link", name="Prepare").click()
    page.get_by_label("Canary").fill("1")
    page.get_by_label("Growth").fill("6")
    page.get_by_label("The gate looks at").select_option("health")
    page.get_by_label("Bake time").fill("1")
    page.get_by_role("button", name="Prepare").click()
    expect(page.get_by_role("heading", name=f"Rollout to {version}")).to_be_visible()
    expect(page.get_by_text("At worst at once")).to_be_visible()
    page.locator("#order-reason").fill("the clock runs")
    page.get_by_role("button", name="Start").click()


def test_shots_of_the_security_walk(portal: Portal, page: Page, tmp_path: Path) -> None:
    portal.sign_in(page, "admin")
    # What the fleet runs was laid out by the first run; here it turns out to hold more than the standard library.
    page.goto(portal.address + "/releases/")
    page.locator("a[href^='/releases/']", has_text="4.12.3").first.click()
    page.get_by_label("JSON file").set_input_files(str(sbom(tmp_path / "a.json", h11="0.14.0", idna="3.4")))
    page.get_by_role("button", name="Replace the SBOM").click()
    expect(page.get_by_text("h11").first).to_be_visible()
    bring_out(page, portal, "4.12.4", "security", sbom(tmp_path / "b.json", h11="0.16.0", idna="3.4"))
    bring_out(page, portal, "4.12.6", "security", sbom(tmp_path / "c.json", h11="0.16.1", idna="3.7"))
    page.goto(portal.address + "/releases/")
    expect(page.get_by_role("heading", name="Who runs what")).to_be_visible()
    shot(page, "1-releases")

    # The advisory comes in: everybody on 4.12.3 is exposed, and the clock runs.
    (tmp_path / "osv.json").write_text(json.dumps(OSV))
    page.goto(portal.address + "/releases/advisories/import/")
    page.get_by_label("JSON file").set_input_files(str(tmp_path / "osv.json"))
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_role("heading", name="GHSA-walk-0001-test")).to_be_visible()
    expect(page.get_by_role("link", name="globex-prod")).to_be_visible()
    advisory = page.url
    shot(page, "2-exposed")

    # A faulty fix: the canary's gate fails, and what it touched goes back.
    roll_out(page, portal, advisory, "4.12.4")
    expect(page.locator("header.head").get_by_text("rolled back")).to_be_visible(timeout=90_000)
    expect(page.get_by_text(re.compile("gate of wave 1 failed")).first).to_be_visible()
    shot(page, "3-gate-failed")

    # A good one goes through, and the clock stops.
    roll_out(page, portal, advisory, "4.12.6")
    shot(page, "4-under-way")
    expect(page.locator("header.head").get_by_text("succeeded")).to_be_visible(timeout=120_000)
    shot(page, "5-succeeded")
    with page.expect_download() as download:
        page.get_by_role("link", name="Report").click()
    report = json.loads(Path(download.value.path()).read_text())
    assert {instance["state"] for instance in report["instances"]} == {"done"}
    page.goto(advisory)
    expect(page.locator("#kpi-left").get_by_text("stopped")).to_be_visible(timeout=40_000)
    shot(page, "6-clock-stopped")
