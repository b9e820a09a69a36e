"""What access registers with the floor below."""

from apps.core import navigation, palette

from .bar import parts
from .choices import Permission
from .search import find_pages, find_people


def register() -> None:
    """Called once, from apps.py."""
    palette.register("pages", find_pages)
    palette.register("people", find_people)
    item = navigation.NavItem(
        "Access", "access:people", group="Account for", order=80, permission=Permission.MANAGE_ACCESS
    )
    navigation.register(item)
    navigation.register(navigation.NavItem("My access", "access:mine", group="Account for", order=81))
    navigation.register_bar(parts)
