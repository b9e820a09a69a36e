"""What the fleet's pages say goes on: floors above tell it."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

from apps.core.slots import Gathering, Link, Notice

from .models import Instance

#: By instance id: what stands above its page.
of_instances: Gathering[Notice] = Gathering("what goes on with an instance")

_now: list[Callable[[Any], Sequence[Notice]]] = []


def register_now(source: Callable[[Any], Sequence[Notice]]) -> None:
    """Have the overview ask `source` for what goes on anywhere that its reader sees; few lines, in few queries."""
    if source not in _now:
        _now.append(source)


def now(user: Any) -> list[Notice]:
    """What goes on now, of all sources."""
    return [notice for source in _now for notice in source(user)]


#: When, what, and its address: drawn on an instance's charts beside its operations.
Mark = tuple[datetime, str, str]
_marks: list[Callable[[Any, int, datetime], Sequence[Mark]]] = []


def register_marks(source: Callable[[Any, int, datetime], Sequence[Mark]]) -> None:
    """Have an instance's charts ask `source` (user, instance id, since) for what is to be drawn on them."""
    if source not in _marks:
        _marks.append(source)


def marks(user: Any, instance_id: int, since: datetime) -> list[Mark]:
    """What happened to the instance, of all sources."""
    return [mark for source in _marks for mark in source(user, instance_id, since)]


#: Of an instance, by who reads and the permissions that they hold on it among those its page asks about.
Links = Callable[[Any, Instance, Collection[str]], Sequence[Link]]
_links: list[Links] = []


def register_links(source: Links) -> None:
    """Have an instance's pages ask `source` (user, instance, permissions) where to go on from there."""
    if source not in _links:
        _links.append(source)


def links(user: Any, instance: Instance, may: Collection[str]) -> list[Link]:
    """Where to go on from an instance, of all sources."""
    return [link for source in _links for link in source(user, instance, may)]
