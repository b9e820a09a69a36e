"""What the forms of an action offer for instances, and how a preview counts many of them."""

from collections.abc import Sequence

from django.db.models import Count

from . import providers
from .models import Cell, Instance
from .providers.base import ProviderError


def versions_for(target_ids: Sequence[int]) -> list[str]:
    """The versions that the providers of all these instances can run, the newest first.

    A provider that does not answer offers nothing: the form then has a text field.
    """
    names = Cell.objects.filter(instances__pk__in=target_ids).order_by().values_list("provider", flat=True)
    found: list[list[str]] = []
    for name in names.distinct():
        try:
            found.append(list(providers.get(name).versions()))
        except (ProviderError, LookupError, OSError):
            return []
    common = set[str].intersection(*map(set, found)) if found else set()
    return [version for version in reversed(found[0]) if version in common] if found else []


def by_cell(target_ids: Sequence[int]) -> list[tuple[str, int]]:
    """How many of these instances lie in each cell."""
    rows = Instance.objects.filter(pk__in=target_ids).order_by().values_list("cell__name")
    return [(f"in {name}", number) for name, number in rows.annotate(number=Count("pk"))]
