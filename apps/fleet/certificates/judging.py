"""What is to be said of a certificate: pure rules over what a handshake saw."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from urllib.parse import urlsplit

#: Bits below which an RSA key is weak (NIST SP 800-57 part 1, 112 bits of strength).
RSA_BITS = 2048
#: Days left at which somebody is told, the last first.
STAGES = (1, 7, 30)


def weakness(key: str) -> str:
    """What is weak about a key as `ServedCertificate.key` tells it ("EC secp256r1", "RSA 2048"); "" where nothing is."""
    kind, _, size = key.partition(" ")
    match kind:
        case "RSA":
            return f"RSA of {size} bits; at least {RSA_BITS} are needed" if int(size or 0) < RSA_BITS else ""
        case "DSA":
            return "DSA, which browsers refuse"
        case "EC":
            bits = re.search(r"\d{3}", size)
            return f"the curve {size} is too short" if not bits or int(bits[0]) < 224 else ""
        case "Ed25519" | "Ed448":
            return ""
    return "a key of an unknown kind"


def host_of(endpoint: str) -> str:
    """The host under which an endpoint is asked for."""
    return urlsplit(endpoint).hostname or ""


def covers(names: Iterable[str], host: str) -> bool:
    """Whether one of the names is the host, or its wildcard of one label (RFC 6125)."""
    wanted = host.lower().rstrip(".")
    parent = wanted.partition(".")[2]
    return any(
        name.lower().rstrip(".") == wanted
        or (name.startswith("*.") and parent and name[2:].lower() == parent)
        for name in names
    )


def due_at(not_before: datetime, not_after: datetime, share: int) -> datetime:
    """When `share` per cent of its life are over."""
    return not_before + (not_after - not_before) * share / 100


def stage(not_after: datetime, now: datetime, not_before: datetime | None = None) -> int | None:
    """The stage of STAGES that its end has reached, 0 once it is over; None while it is far.

    Of a short life, a stage that would cover more than two thirds of it is left out: it would tell of each new one.
    """
    left = not_after - now
    if left <= timedelta(0):
        return 0
    most = (not_after - not_before) * 2 / 3 if not_before is not None else timedelta.max
    stages = (days for days in STAGES if timedelta(days=days) <= most or days == STAGES[0])
    return next((days for days in stages if left <= timedelta(days=days)), None)
