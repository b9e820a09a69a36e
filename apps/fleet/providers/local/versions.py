"""The version directories: `<root>/versions/<version>/` with the program and its manifest."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from apps.core.texts import natural

from ..base import ProviderError, UnknownVersion
from .commands import COMMANDS
from .files import checked_name, explained, write_whole

PROGRAM = Path(__file__).with_name("product.py")
COMMANDS_PROGRAM = Path(__file__).with_name("commands.py")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a version on purpose.

    unhealthy: `/healthz` answers 503. crash: ends `value` seconds after boot. crash_later: the same, later.
    slow: a tenant's request takes `value` seconds more. errors: `value` is the share of them answered with 500.
    """

    kind: str
    value: float


DEFAULTS = {"unhealthy": 0.0, "crash": 0.2, "crash_later": 30.0, "slow": 1.0, "errors": 0.5}


def fault(text: str) -> Fault:
    """From "kind" or "kind:value". Raises ProviderError, not retryable, naming the kinds there are."""
    kind, _, value = text.partition(":")
    try:
        return Fault(kind, float(value) if value else DEFAULTS[kind]) if kind in DEFAULTS else _refuse(text)
    except ValueError:
        return _refuse(text)


def _refuse(text: str) -> Fault:
    kinds = ", ".join(sorted(DEFAULTS))
    raise ProviderError(f"{text!r} is no fault; write one of {kinds}, or kind:number", retryable=False)


def install(directory: Path, version: str, *, ordered: Fault | None, notes: str) -> None:
    """Write the version, or write it anew; processes that run already keep what they have loaded."""
    where = directory / checked_name(version, "a version")
    manifest: dict[str, Any] = {
        "version": version,
        "notes": notes,
        "fault": asdict(ordered) if ordered else None,
    }
    manifest["commands"] = COMMANDS
    with explained(f"installing version {version}"):
        write_whole(where / "app.py", PROGRAM.read_bytes(), mode=0o644)
        write_whole(where / "commands.py", COMMANDS_PROGRAM.read_bytes(), mode=0o644)
        # Last: a directory without manifest is not a version yet.
        write_whole(where / "manifest.json", json.dumps(manifest, indent=1).encode(), mode=0o644)


def program(directory: Path, version: str) -> Path:
    """The program of an installed version. Raises UnknownVersion, naming the newest there are."""
    where = directory / checked_name(version, "a version")
    if (where / "manifest.json").exists() and (where / "app.py").exists():
        return where / "app.py"
    known = ", ".join(installed(directory)[-5:]) or "none"
    raise UnknownVersion(
        f"version {version} is not installed in {directory}; install it first (there are: {known})"
    )


def installed(directory: Path) -> list[str]:
    """All versions in natural order (1.9 before 1.10)."""
    return sorted((path.parent.name for path in directory.glob("*/manifest.json")), key=natural)
