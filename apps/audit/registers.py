"""What the trail registers with the floors below."""

from apps.access.choices import Permission
from apps.core import navigation


def register() -> None:
    """Called once, from apps.py."""
    item = navigation.NavItem(
        "Audit", "audit:list", group="Account for", order=90, permission=Permission.SEE_AUDIT
    )
    navigation.register(item)
