"""Visitors: real requests of the tenants to the running local instances.

    python -m apps.fleet.providers.local.traffic --root .data/fleet --rps 2

`--rps` is for all instances together. Instances that do not run are left in peace; which ones run is looked up
again every few seconds. Ends on SIGTERM or SIGINT, and by itself when the root is gone.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx

from ..base import ProviderError
from .authority import Authority
from .files import read_boot, read_record

LOOK_SECONDS = 3.0
PATHS = ("orders", "orders/recent", "invoices", "login", "dashboard", "api/items", "search")


def visits(root: Path) -> list[tuple[int, str]]:
    """Each (port, tenant) that can be visited now."""
    found = []
    for path in (root / "instances").glob("*/instance.json"):
        try:
            record, boot = read_record(path.parent), read_boot(path.parent)
        except (ProviderError, OSError):
            continue
        if record is not None and boot is not None and boot.alive():
            found += [(record.port, tenant) for tenant in record.tenants]
    return found


def run(root: Path, rps: float, stop: threading.Event) -> tuple[int, int]:
    """Visit until `stop` is set: (requests answered below 500, the others)."""
    authority = Authority(root / "authority")
    good, bad = 0, 0
    while not stop.is_set() and root.exists():
        trusted = authority.trusted_since()
        with _client(authority) as client:
            served, failed = _visit(root, rps, stop, client, partial(authority.trusts_as_of, trusted))
        good, bad = good + served, bad + failed
    return good, bad


def _client(authority: Authority) -> httpx.Client:
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64, keepalive_expiry=60)
    return httpx.Client(verify=authority.client_context(), timeout=5, limits=limits, trust_env=False)


def _visit(
    root: Path, rps: float, stop: threading.Event, client: httpx.Client, goes_on: Callable[[], bool]
) -> tuple[int, int]:
    """As `run`, until another root is trusted too: that takes another client."""
    good, bad, known, looked = 0, 0, [], 0.0
    while not stop.wait(random.expovariate(rps)) and root.exists() and goes_on():
        if time.monotonic() - looked > LOOK_SECONDS:
            known, looked = visits(root), time.monotonic()
        if not known:
            stop.wait(LOOK_SECONDS)
            continue
        port, tenant = random.choice(known)  # noqa: S311
        try:
            url = f"https://127.0.0.1:{port}/t/{tenant}/{random.choice(PATHS)}"  # noqa: S311
            served = client.get(url).status_code < 500
        except httpx.HTTPError:
            served, looked = False, 0.0
        good, bad = good + served, bad + (not served)
    return good, bad


def main(argv: list[str] | None = None) -> int:
    """Read the command line and visit until told to stop."""
    parser = argparse.ArgumentParser(description="Visitors of the local fleet's tenants.")
    parser.add_argument("--root", type=Path, required=True, help="the local fleet's directory")
    parser.add_argument("--rps", type=float, default=2.0, help="requests a second, over all instances")
    options = parser.parse_args(argv)
    if options.rps <= 0 or not (options.root / "instances").is_dir():
        parser.error("--rps must be above 0, and --root a prepared local fleet")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    good, bad = run(options.root, options.rps, stop)
    sys.stderr.write(f"visits: {good} served, {bad} not\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
