"""The tabs of the pages about access."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from .choices import Permission
from .scoping import holds

TABS = (
    ("mine", "My access", False),
    ("requests", "Requests", False),
    ("broken", "Broken glass", False),
    ("tokens", "API tokens", False),
    ("sessions", "Sessions", False),
    ("people", "People", True),
    ("groups", "Groups", True),
    ("roles", "Roles", True),
    ("pre_approvals", "Pre-approvals", True),
    ("sso_groups", "Sign-on", True),
    ("reviews", "Reviews", True),
    ("why", "Who can, why", True),
)


def tabs(request: HttpRequest, active: str) -> list[dict[str, Any]]:
    """The tabs that the reader may open; `active` is where one is."""
    manages = holds(request.user, Permission.MANAGE_ACCESS)
    return [
        {"label": label, "url": reverse(f"access:{name}"), "active": name == active}
        for name, label, for_managers in TABS
        if manages or not for_managers
    ]
