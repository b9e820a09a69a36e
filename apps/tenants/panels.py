"""What a tenant's pages show that floors above know: they fill these slots from their `registers.py`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q

from apps.core.slots import Gathering, Notice, Slot


@dataclass(frozen=True, slots=True)
class Standing:
    """How a tenant fares, in one word: the worst of what serves it. `wrong`: how many of its `instances` fail."""

    health: str
    label: str
    instances: int
    wrong: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Served:
    """One instance that serves a tenant, as its page shows it."""

    instance_id: int
    name: str
    url: str
    kind: str
    health: str
    health_label: str
    detail: str
    health_since: datetime
    version: str
    wanted_version: str
    since: datetime
    cell: str
    cell_url: str
    account: str
    account_url: str
    region: str
    is_shared: bool = False
    is_wrong: bool = False
    locked: str = ""


def standing_of(served: Sequence[Served]) -> Standing | None:
    """How a tenant fares whose instances are at hand, worst first; None where nothing serves it."""
    if not served:
        return None
    wrong = sum(1 for one in served if one.is_wrong)
    return Standing(served[0].health, served[0].health_label, len(served), wrong)


@dataclass(frozen=True, slots=True)
class Cover:
    """A scope that covers a tenant without being its own: `kind` and `object_id` as in `access.Scope`."""

    kind: str
    object_id: int
    label: str


#: By tenant id. What nothing serves is left out.
standings: Slot[Standing] = Slot("how a tenant fares")
#: By tenant id: what serves it, wrong ones first.
placements: Slot[Sequence[Served]] = Slot("the instances that serve a tenant")
#: By tenant id: the accounts and cells whose holders reach it, whoever reads.
covers: Slot[Sequence[Cover]] = Slot("scopes that cover a tenant")
#: By tenant id: what stands above its page.
notices: Gathering[Notice] = Gathering("what goes on with a tenant")


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing more to know of a tenant, in its head: words, where more of it is, and why it is so."""

    label: str
    url: str
    why: str = ""


#: By tenant id: what floors above add to its head.
facts: Gathering[Fact] = Gathering("facts of a tenant")


@dataclass(frozen=True, slots=True)
class Narrowing:
    """A filter of the list by what a floor above knows: values with their words, and the rows of one value."""

    label: str
    choices: Callable[[Any], Sequence[tuple[str, str]]]
    within: Callable[[Any, str], Q]


#: By the filter's name in the address.
narrowings: dict[str, Narrowing] = {}


@dataclass(frozen=True, slots=True)
class Tab:
    """A tab of a tenant's pages that a floor above serves: its address takes the tenant's id."""

    name: str
    label: str
    url_name: str
    permission: str


#: Shown to who holds the permission on the tenant.
tabs: list[Tab] = []
