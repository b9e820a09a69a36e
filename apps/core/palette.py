"""⌘K: each app registers what it can find; hits are ranked together."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer. `score` is 0 to 1; `matched` says what matched when it is not the label itself."""

    kind: str
    label: str
    url: str
    detail: str = ""
    score: float = 0.0
    matched: str = ""


Source = Callable[[Any, str, int], Iterable[Hit]]
_sources: dict[str, Source] = {}

MAX_LENGTH = 100


def register(name: str, source: Source) -> None:
    """Add a source: `source(user, text, limit)` gives hits the user may see, best first."""
    _sources[name] = source


def search(user: Any, text: str, *, limit: int = 12) -> list[Hit]:
    """Hits of every source for `text`, best first; nothing for an empty text."""
    text = " ".join(text.split())[:MAX_LENGTH].replace("\x00", "")
    if not text:
        return []
    hits = [hit for source in _sources.values() for hit in source(user, text, limit)]
    return sorted(hits, key=lambda hit: -hit.score)[:limit]
