"""What the tenants register with the floors below."""

from django.db.models import Q

from apps.access import scoping
from apps.core import navigation, palette

from .models import Plan
from .palette import find_tenants


def register() -> None:
    """Called once, from apps.py."""
    # Plans are the price list: who may see anything may see them.
    scoping.register(Plan, lambda scopes: Q())
    navigation.register(navigation.NavItem("Tenants", "tenants:list", order=20, key="t"))
    palette.register("tenants", find_tenants)
