"""Every address of ours, from the URL conf itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

#: Addresses that others' packages bring, by the beginning of their path. Each guards itself.
OTHERS = {
    "accounts/": "allauth: signing in and one's own account",
    "admin/": "the admin site: FixSite and FixAdmin ask for every page (tests/access/test_admin.py)",
    "static/": "files that everybody may have",
}

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Route:
    """One address: its name, its path as written, its view."""

    name: str
    path: str
    view: Callable[..., Any]

    @property
    def permission(self) -> str:
        return str(getattr(self.view, "declared_permission", ""))

    @property
    def methods(self) -> tuple[str, ...]:
        """What it takes, of METHODS. A view that declares none is there to be read."""
        declared = getattr(self.view, "declared_methods", ("GET",))
        return tuple(method for method in METHODS if method in declared)


def walk(patterns: Any = None, path: str = "", names: tuple[str, ...] = ()) -> Iterator[Route]:
    """All routes below `patterns`."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        here = path + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            inside = (*names, pattern.namespace) if pattern.namespace else names
            yield from walk(pattern.url_patterns, here, inside)
        elif isinstance(pattern, URLPattern):
            yield Route(":".join((*names, pattern.name or "")), here, pattern.callback)


def ours() -> list[Route]:
    """Routes that are not of another package."""
    return [route for route in walk() if not route.path.startswith(tuple(OTHERS))]
