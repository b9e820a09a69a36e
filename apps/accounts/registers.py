"""What the accounts register with the floors below."""

from apps.core import navigation, palette

from .search import find_accounts


def register() -> None:
    """Called once, from apps.py."""
    navigation.register(navigation.NavItem("Accounts", "accounts:list", order=30, key="a"))
    palette.register("accounts", find_accounts)
