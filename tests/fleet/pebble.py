"""A real ACME server for tests: pebble from apt, with its own name server that leads every name to this machine."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from apps.fleet.providers.local.authority import Authority

#: An external binding that the server takes (its own documentation's).
EAB_KID, EAB_KEY = "kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


@dataclass
class Pebble:
    """Where it listens, whom to trust for its HTTPS, and the root in which what it issues ends."""

    url: str
    ca_file: Path
    root: str
    names_url: str

    def say(self, name: str, text: str) -> None:
        """Have its name server answer `text` for the TXT record of a name."""
        httpx.post(f"{self.names_url}/set-txt", json={"host": f"{name}.", "value": text}).raise_for_status()

    @property
    def ca(self) -> str:
        return self.ca_file.read_text()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def require() -> None:
    if not (shutil.which("pebble") and shutil.which("pebble-challtestsrv")):
        pytest.skip("pebble is not installed: apt-get install pebble")


@contextmanager
def running(folder: Path, *, http_port: int, binding: bool = False) -> Iterator[Pebble]:
    """A pebble that proves names by http on `http_port`; with `binding`, accounts need an external one."""
    require()
    folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(folder / "authority")
    chain, key = authority.issue(["localhost", "127.0.0.1"])
    (folder / "cert.pem").write_bytes(chain)
    (folder / "key.pem").write_bytes(key)
    listen, manage, names, orders = (free_port() for _ in range(4))
    config = {
        "listenAddress": f"127.0.0.1:{listen}", "managementListenAddress": f"127.0.0.1:{manage}",
        "certificate": str(folder / "cert.pem"), "privateKey": str(folder / "key.pem"),
        "httpPort": http_port, "tlsPort": 1, "ocspResponderURL": "",
        "externalAccountBindingRequired": binding, "externalAccountMACKeys": {EAB_KID: EAB_KEY},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps({"pebble": config}))
    quick = {**os.environ, "PEBBLE_VA_NOSLEEP": "1"}
    commands = (
        ["pebble-challtestsrv", "-dns01", f"127.0.0.1:{names}", "-http01", "", "-https01", "", "-tlsalpn01", "",
         "-management", f"127.0.0.1:{orders}", "-defaultIPv6", ""],
        ["pebble", "-config", str(folder / "config.json"), "-dnsserver", f"127.0.0.1:{names}"],
    )  # fmt: skip
    with (folder / "pebble.log").open("wb") as log:
        started = [subprocess.Popen(c, env=quick, stdout=log, stderr=log) for c in commands]
    try:
        ca = authority.certificate_file
        root = _until_up(f"https://127.0.0.1:{manage}/roots/0", ca, folder / "pebble.log")
        yield Pebble(f"https://127.0.0.1:{listen}/dir", ca, root, f"http://127.0.0.1:{orders}")
    finally:
        for process in started:
            process.terminate()
            process.wait(timeout=10)


def _until_up(url: str, ca: Path, log: Path) -> str:
    deadline = time.monotonic() + 15
    while True:
        try:
            return (
                httpx.get(url, verify=ssl.create_default_context(cafile=str(ca)), timeout=2)
                .raise_for_status()
                .text
            )
        except httpx.HTTPError:
            assert time.monotonic() < deadline, log.read_text()[-2_000:]
            time.sleep(0.1)
