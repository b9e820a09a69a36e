"""Every route of ours says who may reach it; every other one is known by its prefix."""

from __future__ import annotations

import pytest

from apps.access.choices import Permission
from tests.meta.routes import OTHERS, ours, walk


@pytest.mark.parametrize("route", ours(), ids=lambda route: route.name)
def test_every_route_declares_its_permission(route) -> None:  # type: ignore[no-untyped-def]
    module = route.view.__module__
    assert module.startswith("apps."), (
        f"{route.path} is served by {module}: list its prefix in OTHERS with a reason"
    )
    words = ("public: ", "signed in: ")
    declared = route.permission
    assert declared in Permission.values or declared.startswith(words), (
        f"{route.name} declares nothing: decorate its view with views_base.needs(…), signed_in(…) or public(…)"
    )
    assert route.name.count(":") == 1, f"{route.path} has no name"


def test_names_are_unique() -> None:
    names = [route.name for route in ours()]
    assert len(names) == len(set(names))


def test_paths_end_as_the_house_writes_them() -> None:
    pages = [r for r in ours() if not r.path.startswith(("api/", "scim/"))]
    odd = [r.path for r in pages if r.path and not r.path.endswith(("/", ".json", "healthz", "$"))]
    assert odd == []


def test_others_are_others() -> None:
    """The admin's views are methods of our FixAdmin; beside it nothing of ours stands behind a prefix of others."""
    hidden = tuple(prefix for prefix in OTHERS if prefix != "admin/")
    mine = [r.path for r in walk() if r.path.startswith(hidden) and r.view.__module__.startswith("apps.")]
    assert mine == []
