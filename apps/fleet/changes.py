"""What was changed around some instances: floors register where that is to be read; each tells only what its reader may see."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from apps.core.choices import Tone


@dataclass(frozen=True, slots=True)
class Change:
    """One change: when, what was done, by whom or why, and its page. `kind` is a word for its tag."""

    at: datetime
    kind: str
    what: str
    note: str = ""
    url: str = ""
    tone: str = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Around:
    """Some instances, and what they lie in and serve: ids."""

    instances: frozenset[int] = field(default_factory=frozenset)
    cells: frozenset[int] = field(default_factory=frozenset)
    regions: frozenset[int] = field(default_factory=frozenset)
    accounts: frozenset[int] = field(default_factory=frozenset)
    tenants: frozenset[int] = field(default_factory=frozenset)


Source = Callable[[Any, Around, datetime, datetime], Sequence[Change]]
_sources: list[Source] = []


def register(source: Source) -> None:
    """Have `source` (user, around, since, until) asked too; few rows, in few queries."""
    if source not in _sources:
        _sources.append(source)


def of_all(user: Any, around: Around, since: datetime, until: datetime) -> list[Change]:
    """The changes of all sources, newest first."""
    found = [change for source in _sources for change in source(user, around, since, until)]
    return sorted(found, key=lambda change: change.at, reverse=True)
