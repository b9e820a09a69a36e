"""What access registers with the floor below."""

from apps.core import palette

from .search import find_pages, find_people


def register() -> None:
    """Called once, from apps.py."""
    palette.register("pages", find_pages)
    palette.register("people", find_people)
