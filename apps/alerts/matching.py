"""Whether an alert fits what a silence or a recovery policy names; as a filter and in memory, from one definition."""

from collections.abc import Mapping
from typing import Any, Protocol

from django.db.models import Q

from .models import Alert


class Names(Protocol):
    """What can be named: each part only where it is given."""

    labels: Any
    account_id: Any
    cell_id: Any


def condition(
    *,
    name: str,
    labels: Mapping[str, str],
    account_id: int | None,
    cell_id: int | None,
    instance_id: int | None = None,
) -> Q:
    """The alerts that fit, as a filter."""
    wanted = Q()
    if name:
        wanted &= Q(name=name)
    if labels:
        wanted &= Q(labels__contains=dict(labels))
    for column, value in (("account_id", account_id), ("cell_id", cell_id), ("instance_id", instance_id)):
        if value is not None:
            wanted &= Q(**{column: value})
    return wanted


def fits(alert: Alert, names: Names, *, name: str, instance_id: int | None = None) -> bool:
    """Whether one alert fits, without asking the database."""
    return (
        (not name or alert.name == name)
        and all(alert.labels.get(key) == value for key, value in (names.labels or {}).items())
        and names.account_id in (None, alert.account_id)
        and names.cell_id in (None, alert.cell_id)
        and instance_id in (None, alert.instance_id)
    )
