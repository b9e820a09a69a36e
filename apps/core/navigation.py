"""The rail: each app registers its own lines."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

GROUPS = ("", "Change", "Watch", "Account for")


@dataclass(frozen=True, slots=True)
class NavItem:
    """One line of the rail. `permission`: shown only to who holds it somewhere."""

    label: str
    url_name: str
    group: str = ""
    order: int = 100
    permission: str = "view"
    key: str = ""


_items: list[NavItem] = []
_bar: list[Callable[[Any], list[dict[str, Any]]]] = []


def register(item: NavItem) -> None:
    """Add a line to the rail (from an app's `registers.py`)."""
    if item not in _items:
        _items.append(item)
        _items.sort(key=lambda one: (GROUPS.index(one.group), one.order))


def items() -> list[NavItem]:
    """All lines, in order."""
    return list(_items)


def register_bar(source: Callable[[Any], list[dict[str, Any]]]) -> None:
    """Add a live part to the top bar: a function of the user giving `{label, count, url, tone}` dicts."""
    if source not in _bar:
        _bar.append(source)


def bar(user: Any) -> list[dict[str, Any]]:
    """The top bar's live parts for this user."""
    return [part for source in _bar for part in source(user)]
