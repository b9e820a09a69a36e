"""Runs a release's commands: a process of its own, no shell, its output bounded, its time too, each key once.

    <instance>/commands/<key>.json    that it was begun; then its result

The command holds a lock that it inherits, so that whoever gets the lock next knows that no command of this instance
runs any more, also when the worker that started it was killed.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from apps.core.redacting import redacted

from .. import arguments
from ..base import Argument, Command, CommandResult, ProviderError
from .files import Record, checked_name, explained, locked, write_whole
from .reports import SECRET

#: Bytes of output that are kept, and results that are.
MOST, KEEP = 64 * 1024, 20
#: Seconds that no command may take, whatever its release says.
LONGEST = 60.0


def offered(version: Path) -> list[Command]:
    """What the manifest of a version offers; none where it is of before there were commands."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        rows = json.loads((version / "manifest.json").read_bytes()).get("commands") or []
        return [_command(row) for row in rows]
    return []


def _command(row: Mapping[str, Any]) -> Command:
    given = [Argument(**{**a, "choices": tuple(a.get("choices", ()))}) for a in row.get("arguments", ())]
    return Command(**{**row, "arguments": tuple(given)})


def run(
    *,
    directory: Path,
    version: Path,
    lock: Path,
    record: Record,
    name: str,
    given: Mapping[str, str],
    key: str,
) -> CommandResult:
    """See `Provider.run_command`."""
    command = arguments.find(offered(version), name)
    values = arguments.checked(command, given, record.tenants)
    kept = directory / "commands" / f"{checked_name(key, 'a command')}.json"
    patience = min(command.timeout, LONGEST) + 10
    with explained(f"running {name} on {record.name}"), locked(lock, seconds=patience) as held:
        before = _before(kept)
        if before is not None and "result" in before:
            return CommandResult(**before["result"])
        if before is not None and not command.is_repeatable:
            raise ProviderError(
                f"{name} on {record.name} was begun, and its worker died before it could tell how it ended; "
                "it must not be done twice: look at the instance, then ask for it anew",
                retryable=False,
            )
        write_whole(kept, json.dumps({"command": name}).encode())
        result = _hidden(_run(directory, version, command, values, held), record)
        write_whole(kept, json.dumps({"command": name, "result": asdict(result)}).encode())
        _forget(kept.parent)
    return result


def _before(kept: Path) -> dict[str, Any] | None:
    with suppress(FileNotFoundError, ValueError):
        found: dict[str, Any] = json.loads(kept.read_bytes())
        return found
    return None


def _run(
    directory: Path, version: Path, command: Command, values: Mapping[str, str], lock: int
) -> CommandResult:
    words = [f"{name}={value}" for name, value in values.items()]
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(version / "commands.py"), str(directory), command.name, *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=(lock,),
        start_new_session=True, cwd=directory, env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    try:
        output, is_cut, is_late = _read(process, began + min(command.timeout, LONGEST))
    finally:
        # Its whole session, also what it left running; it was started here, and is known to be ours.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    text = output.decode("utf-8", "replace")
    if is_late:
        text += f"\n(ended after the {min(command.timeout, LONGEST):g} s that it may take)"
    return CommandResult(
        124 if is_late else process.returncode, text, is_cut, round(time.monotonic() - began, 3)
    )


def _read(process: subprocess.Popen[bytes], until: float) -> tuple[bytes, bool, bool]:
    """Output to its end or to the time limit; what goes past the size limit is read and dropped."""
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    output, is_cut, file = bytearray(), False, process.stdout.fileno()
    with selectors.DefaultSelector() as selector, process.stdout:
        selector.register(file, selectors.EVENT_READ)
        while (left := until - time.monotonic()) > 0:
            if not selector.select(left):
                break
            chunk = os.read(file, 65_536)
            if not chunk:
                return bytes(output), is_cut, not _ends(process, until)
            is_cut = is_cut or len(output) + len(chunk) > MOST
            output += chunk[: MOST - len(output)]
    return bytes(output), is_cut, True


def _ends(process: subprocess.Popen[bytes], until: float) -> bool:
    try:
        process.wait(timeout=max(0.05, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _hidden(result: CommandResult, record: Record) -> CommandResult:
    known = _secrets(record.config)
    return CommandResult(result.exit_code, redacted(result.output, known), result.is_cut, result.seconds)


def _secrets(value: Any, name: str = "") -> list[str]:
    """The values in an instance's config whose names smell of a secret."""
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in _secrets(inner, str(key))]
    if isinstance(value, list | tuple):
        return [found for inner in value for found in _secrets(inner, name)]
    return [str(value)] if SECRET.search(name) and value else []


def _forget(folder: Path) -> None:
    found = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    for old in found[:-KEEP]:
        old.unlink(missing_ok=True)
