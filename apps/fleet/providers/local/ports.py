"""Which port an instance gets, for good."""

from __future__ import annotations

import socket
import time
import zlib
from pathlib import Path

from ..base import ProviderError
from .files import Record, read_record
from .process import port_taker

# Below the ports that Linux and macOS hand out for outgoing connections (from 32768 and 49152).
FIRST, COUNT = 21000, 9000


def choose(instances: Path, name: str) -> int:
    """A port that no other instance has and nobody listens on; the caller holds the lock of all ports.

    Begins at a place that depends on the name, so that two roots on one machine seldom meet.
    """
    records = (read_record(path.parent) for path in instances.glob("*/instance.json"))
    given = {record.port for record in records if record is not None}
    begin = zlib.crc32(f"{instances}/{name}".encode())
    for step in range(COUNT):
        port = FIRST + (begin + step) % COUNT
        if port not in given and is_free(port):
            return port
    raise ProviderError(
        f"no free port from {FIRST} to {FIRST + COUNT - 1}; destroy instances, or end what listens there"
    )


def is_free(port: int) -> bool:
    """Whether a server could listen on it now."""
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def require_free(record: Record) -> None:
    """Raises ProviderError, telling who has the port.

    Waits up to 2 s: the kernel closes the socket of a killed process a moment after the process counts as ended.
    """
    until = time.monotonic() + 2
    while not (free := is_free(record.port)) and time.monotonic() < until:
        time.sleep(0.01)
    if not free:
        who = port_taker(record.port) or "another program"
        raise ProviderError(
            f"port {record.port} of {record.name} is taken by {who}; "
            "end that, or destroy the instance and deploy it again"
        )
