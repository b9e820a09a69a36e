"""Is there a Chromium for the browser tests? On Debian, as root, it is installed; elsewhere this says what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TRIES = 3


def find_browser() -> str | None:
    """The path of a Chromium or Chrome: the one that DAYTWO_CHROMIUM names, else the first in PATH."""
    named = os.environ.get("DAYTWO_CHROMIUM", "")
    if named:
        return named if os.access(named, os.X_OK) else None
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def install_on_debian() -> bool:
    """Install Chromium with apt-get, trying again when the mirror stumbles. False when that is not possible here."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for attempt in range(TRIES):
        time.sleep(5 * attempt)
        for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium"]):
            subprocess.run(
                ["apt-get", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                check=False,
            )
        if find_browser():
            return True
    return False


def main() -> int:
    """0 always, unless DAYTWO_REQUIRE_BROWSER is set (as in CI) and there is none."""
    if find_browser() or install_on_debian():
        return 0
    print(
        "No Chromium was found: tests marked `browser` are skipped. Install chromium or Google Chrome, "
        "or name one with DAYTWO_CHROMIUM=/path/to/chrome.",
        file=sys.stderr,
    )
    return 1 if os.environ.get("DAYTWO_REQUIRE_BROWSER") else 0


if __name__ == "__main__":
    sys.exit(main())
