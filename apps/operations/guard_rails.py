"""Policies that an operation must pass before it is accepted, and again before it starts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .kinds import Kind, TargetInfo


@dataclass(frozen=True, slots=True)
class Objection:
    """Why not. `needs_approval`: a second person may allow it; otherwise it is refused."""

    why: str
    needs_approval: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What is about to be done, on all its targets at once.

    `starting`: the second look, before the start; `operations` are then the operations' ids by target.
    """

    kind: Kind
    targets: Sequence[TargetInfo]
    params: Mapping[str, Any]
    actor: Any
    starting: bool = False
    operations: Mapping[int, int] = field(default_factory=dict)


GuardRail = Callable[[Request], Mapping[int, Objection]]
_rails: dict[str, GuardRail] = {}


def register(name: str, rail: GuardRail) -> None:
    """Add a guard rail: it answers objections by target id, with queries that do not grow with the targets."""
    _rails[name] = rail


def unregister(name: str) -> None:
    """Take a guard rail away (tests)."""
    _rails.pop(name, None)


def objections(request: Request) -> dict[int, list[Objection]]:
    """All objections of all guard rails, by target id."""
    found: dict[int, list[Objection]] = {}
    for rail in _rails.values():
        for target_id, objection in rail(request).items():
            found.setdefault(target_id, []).append(objection)
    return found


def locked_targets(request: Request) -> dict[int, Objection]:
    """Nothing that is locked is changed."""
    if not request.kind.is_changing:
        return {}
    return {t.id: Objection(f"{t.label} is locked: {t.locked}") for t in request.targets if t.locked}
