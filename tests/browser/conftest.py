"""A whole portal for the browser: `make up`'s own program on a data directory and port of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"Daytwo runs at (\S+) — sign in once with (\S+)")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


@dataclass
class Portal:
    """A running portal: its address, its data, and how to sign in."""

    address: str
    data: Path
    environment: dict[str, str]

    @property
    def database_url(self) -> str:
        """Where its database answers."""
        return (self.data / "database_url").read_text().strip()

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `manage.py` on it, as somebody at its machine does."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def signin_link(self, user: str) -> str:
        """A fresh one-time link for one of the first run's people."""
        done = subprocess.run(
            [sys.executable, "manage.py", "signin_link", "--user", user],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return self.address + done.stdout.split()[-1]

    def sign_in(self, page: Page, user: str) -> None:
        """Open a fresh link, as one of the first run's people does, and use it."""
        page.goto(self.signin_link(user))
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(self.address + "/")

    @property
    def fleet(self) -> Path:
        """Where its local fleet keeps its processes."""
        return next(self.data.glob("**/instances")).parent

    def endpoint(self, instance: str) -> tuple[str, int]:
        """Where an instance listens, as its own record says."""
        record = json.loads((self.fleet / "instances" / instance / "instance.json").read_text())
        return "127.0.0.1", int(record["port"])

    def pid_of(self, instance: str) -> int:
        """The pid of an instance's process, as an operator finds it with `ps`."""
        done = subprocess.run(
            ["pgrep", "-f", f"{self.data}.*{instance}"], capture_output=True, text=True, check=True
        )
        return int(done.stdout.split()[0])


@pytest.fixture(scope="module")
def portal() -> Iterator[Portal]:
    """`make up` from nothing, for one walk: what it leaves (a recovery policy, say) would mend what the next one breaks.

    Everything of it is stopped at the end, tenants' processes too.
    """
    data = Path(tempfile.mkdtemp(prefix="daytwo-walk-"))
    data.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    drop = ("DATABASE_URL", "DRAMATIQ_BROKER_URL", "SECRET_KEY", "DAYTWO_TEST_CLUSTER")
    environment = {key: value for key, value in os.environ.items() if key not in drop}
    environment |= {"DAYTWO_DATA_DIR": str(data), "PORT": str(port), "PYTHONUNBUFFERED": "1"}
    # A walk need not wait long to see an incident resolve, and a certificate that is near its end.
    environment |= {"ALERTS_QUIET_SECONDS": "4", "CERTIFICATES_LOOK_SECONDS": "5"}
    log = data / "up.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "portal.stack.up"],
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        address = _wait_for(log, process)
        yield Portal(address, data, environment)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        subprocess.run(
            [sys.executable, "-m", "portal.stack.down"], cwd=ROOT, env=environment, check=False, timeout=60
        )
        shutil.rmtree(data, ignore_errors=True)


def _wait_for(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        if found := LINK.search(log.read_text(errors="replace")):
            return found[1]
        time.sleep(0.2)
    raise AssertionError(f"the portal did not come up:\n{log.read_text(errors='replace')[-3_000:]}")


@pytest.fixture(scope="session")
def chromium(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    made = chromium.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    made.set_default_timeout(20_000)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page whose console must stay clean: a blocked script or style, or a script's error, fails the test."""
    made = context.new_page()
    complaints: list[str] = []
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.on(
        "console",
        lambda message: (
            complaints.append(message.text)
            if message.type == "error"
            and ("Content Security Policy" in message.text or "Error:" in message.text)
            else None
        ),
    )
    yield made
    assert complaints == []
