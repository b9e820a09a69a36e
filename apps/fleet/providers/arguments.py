"""Arguments of a command: read from one line, and checked against what the command takes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from .base import Argument, Command, ProviderError

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+-]{0,79}")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def read(line: str) -> dict[str, str]:
    """From `name=value name=value`. Raises ValueError naming what is wrong; nothing is quoted and nothing expanded."""
    found: dict[str, str] = {}
    for part in line.split():
        name, equals, value = part.partition("=")
        if not equals or not _NAME.fullmatch(name) or not _WORD.fullmatch(value):
            raise ValueError(
                f"“{part[:60]}” is no argument; write name=value, of letters, digits and . _ : @ / + -"
            )
        if name in found:
            raise ValueError(f"“{name}” is given twice.")
        found[name] = value
    return found


def find(commands: Sequence[Command], name: str) -> Command:
    """The command of that name. Raises ProviderError, not retryable, naming those there are."""
    for command in commands:
        if command.name == name:
            return command
    known = ", ".join(sorted(c.name for c in commands)) or "none"
    raise ProviderError(f"its release offers no command “{name}”; there are: {known}", retryable=False)


def checked(command: Command, given: Mapping[str, str], tenants: Sequence[str]) -> dict[str, str]:
    """All its arguments, with defaults for those not given. Raises ProviderError, not retryable, naming what is wrong."""
    if extra := sorted(set(given) - {a.name for a in command.arguments}):
        takes = ", ".join(a.name for a in command.arguments) or "nothing"
        raise ProviderError(f"{command.name} takes {takes}, not {', '.join(extra)}", retryable=False)
    found = {}
    for argument in command.arguments:
        value = given.get(argument.name, argument.default)
        if why := _why_not(argument, value, tenants):
            raise ProviderError(f"{command.name}: {argument.name} must be {why}", retryable=False)
        found[argument.name] = value
    return found


def _why_not(argument: Argument, value: str, tenants: Sequence[str]) -> str:
    match argument.kind:
        case "integer":
            is_ok = re.fullmatch(r"[0-9]{1,9}", value) and argument.min <= int(value) <= argument.max
            return "" if is_ok else f"a whole number from {argument.min} to {argument.max}"
        case "choice":
            return "" if value in argument.choices else f"one of {', '.join(argument.choices)}"
        case "tenant":
            return "" if value in tenants else "the key of a tenant that it serves"
    return "" if _WORD.fullmatch(value) else "a word of letters, digits and . _ : @ / + -"
