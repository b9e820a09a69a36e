"""What another placement would have made of a month's cost and margin. Nothing here changes anything.

Base is what the rules gave each tenant. On it comes what the move changes of the two instances' cost, shared as in `placing`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

from apps.fleet.choices import InstanceKind

from ..choices import Driver
from ..pricing import ZERO
from ..templatetags.cost import shown
from .margins import Margin, margins
from .placing import TINY, Fleet, Place, fleet

#: In the place of an instance's name: one of its own.
NEW = ""


class NotKnown(Exception):
    """The question cannot be answered; the message says what is not known."""


@dataclass(frozen=True, slots=True)
class Change:
    """One tenant before and after."""

    before: Margin
    cost: Decimal

    @property
    def change(self) -> Decimal:
        return self.cost - self.before.cost

    @property
    def margin(self) -> Decimal:
        return self.before.revenue - self.cost


@dataclass(frozen=True, slots=True)
class Move:
    """What moving a tenant would make: of itself, of those it leaves and joins, of the company; `steps` says how."""

    tenant: Change
    others: Sequence[Change]
    company: Decimal
    steps: Sequence[str]
    missing: Sequence[str]


@dataclass(frozen=True, slots=True)
class Question:
    """Which tenant, by its key, to which instance (or `NEW`, then in which cell, if that matters), shared by which driver."""

    tenant: str
    to: str
    cell: str = ""
    driver: str = Driver.REQUESTS


def what_if(user: Any, month: date, currency: str, asked: Question) -> Move:
    """The answer for one month. Raises NotKnown. For who sees all: others' figures are in it."""
    found = margins(user, [month], currency)[0]
    made = fleet(user, month, found.rates, asked.driver)
    rows = {row.tenant_id: row for row in found.rows}
    pk = next((one for one, who in made.names.items() if who[0] == asked.tenant), None)
    if pk is None or pk not in rows:
        raise NotKnown(
            f"“{asked.tenant}” is on no instance, or neither cost nor earned anything in the month."
        )
    source = made.of_tenant[pk][0]
    target = _target(made, source, pk, asked)
    _require_known(made.names[pk][1], pk, source, target)
    left, joined = _moved(source, target, pk)
    before, after = _parts(source, target), _parts(left, joined)
    changes = {
        one: Change(rows[one], rows[one].cost - before.get(one, ZERO) + after.get(one, ZERO))
        for one in before.keys() | after.keys()
        if one in rows
    }
    mine = changes.pop(pk)
    others = sorted(changes.values(), key=lambda one: (-abs(one.change), one.before.name))
    company = (target.cost or ZERO if asked.to == NEW else ZERO) - (
        ZERO if left.used else source.cost or ZERO
    )
    steps = _steps(asked, source, target, left, joined, pk, currency)
    if any(one.cost < 0 for one in (mine, *others)):
        steps.append(
            "Where the rules give a tenant less than its part of an instance, its cost ends below nothing: share that cost by usage first."
        )
    return Move(mine, others, company, steps, sorted({*found.missing, *made.missing}))


def _target(made: Fleet, source: Place, pk: int, asked: Question) -> Place:
    if asked.to == NEW:
        usual = made.usual(dedicated=True, cell=asked.cell)
        if usual is None:
            raise NotKnown(
                "No dedicated instance has a cost on the month's bills, so that of a new one is not known."
            )
        return Place(0, "an instance of its own", InstanceKind.DEDICATED, asked.cell, usual)
    target = next((one for one in made.places.values() if one.name == asked.to), None)
    if target is None:
        raise NotKnown(f"There is no instance “{asked.to}” with tenants on it.")
    if pk in target.used:
        raise NotKnown(f"It is on {target.name} already.")
    if target.is_dedicated:
        raise NotKnown(f"{target.name} is dedicated to another tenant.")
    return target


def _require_known(name: str, pk: int, source: Place, target: Place) -> None:
    """Raises NotKnown where an instance's cost is not known, or a share could not be told from nothing."""
    for place in (source, target):
        if place.cost is None:
            raise NotKnown(f"No line of the month's bills names {place.name}, so its cost is not known.")
    metered = any(one is not None for place in (source, target) for one in place.used.values())
    if source.used[pk] is None and metered:
        raise NotKnown(f"{name} has no such meter in the month and others have, so its share is not known.")


def _moved(source: Place, target: Place, pk: int) -> tuple[Place, Place]:
    left = replace(source, used={one: used for one, used in source.used.items() if one != pk})
    return left, replace(target, used={**target.used, pk: source.used[pk]})


def _parts(*places: Place) -> dict[int, Decimal]:
    """What of the places' cost is whose."""
    found: dict[int, Decimal] = {}
    for place in places:
        for one in place.used:
            found[one] = (found.get(one, ZERO) + (place.part(one) or ZERO)).quantize(TINY)
    return found


def _steps(
    asked: Question, source: Place, target: Place, left: Place, joined: Place, pk: int, currency: str
) -> list[str]:
    """How the answer was reckoned, in figures."""

    def told(amount: Decimal | None) -> str:
        return shown(amount or ZERO, currency)

    word = str(Driver(asked.driver).label).lower()
    steps = [
        f"{source.name} cost {told(source.cost)}; its part of it, by {word}, was {told(source.part(pk))}."
    ]
    if left.used:
        steps.append(f"Its other tenants would bear all of {source.name}; it would cost the same.")
    else:
        steps.append(
            f"Nobody would be left on {source.name}: it would be taken down, which saves {told(source.cost)}."
        )
    if asked.to == NEW:
        where = f" in {asked.cell}" if asked.cell else ""
        steps.append(
            f"An instance of its own{where} would cost {told(target.cost)}, the median of those there are."
        )
    else:
        part = told(joined.part(pk))
        steps.append(
            f"{target.name} cost {told(target.cost)} and would cost the same; its part, by {word}, would be {part}."
        )
    return steps
