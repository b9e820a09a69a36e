"""Texts for a diagnostics bundle."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..base import ProviderError
from . import journal, process
from .files import Boot, Record

SECRET = re.compile(r"pass|secret|token|key|credential|private|auth|dsn|url", re.IGNORECASE)
_LINES = 200


def collect(directory: Path, record: Record | None, boot: Boot | None) -> dict[str, str]:
    """By name: process, open files, config, stderr, log. What cannot be had says why instead."""
    if record is None:
        return {"process": "missing: it was never deployed here, or destroyed"}
    texts = {"process": "never started", "open files": ""}
    if boot is not None:
        gone = {
            "process": f"process {boot.pid} (boot {boot.generation}, version {boot.version}) is gone",
            "open files": "",
        }
        texts = process.described(boot) if boot.alive() else gone
    config = json.dumps(masked(asdict(record)), indent=1, default=str)
    return {**texts, "config": config, "stderr": _stderr(directory), "log": _log(directory)}


def masked(value: Any, name: str = "") -> Any:
    """The value with everything whose name smells of a secret replaced."""
    if isinstance(value, dict):
        return {key: masked(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(inner, name) for inner in value]
    return "[redacted]" if SECRET.search(name) and value else value


def _stderr(directory: Path) -> str:
    try:
        return (directory / "stderr.log").read_bytes()[-16_384:].decode("utf-8", "replace")
    except OSError as error:
        return f"(not readable: {error.strerror})"


def _log(directory: Path) -> str:
    try:
        lines = journal.read(directory, limit=_LINES, after="").lines
    except (ProviderError, OSError) as error:
        return f"(not readable: {error})"
    return "\n".join(
        f"{line.at.isoformat()} {line.level} {line.tenant or '-'} {line.message}" for line in lines
    )


def why_down(directory: Path, record: Record, boot: Boot | None) -> str:
    """Why it does not run, as far as can be told."""
    if record.parked:
        return "stopped with the whole fleet"
    if record.wanted == "stopped":
        return "stopped by request"
    if boot is None:
        return "not started yet"
    words = process.last_words(directory)
    return f"process {boot.pid} is gone" + (f"; its last words: {words}" if words else "")
