"""What the accounts' pages read."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404

from apps.access.scoping import visible
from apps.core.enriching import EnrichedQuerySet
from apps.core.models import Event

from . import panels
from .models import Account, Region

#: Rows of a timeline on a page of its own, and of the short one beside other things.
EVENTS, FEW = 100, 15


def listed(user: Any) -> QuerySet[Account]:
    """The accounts a user sees; each row that is fetched has its `holding` and its `region_codes`."""
    rows: EnrichedQuerySet[Account] = EnrichedQuerySet(Account)
    return visible(user, rows.defer("notes").enriched_by(partial(_add_holdings, user)))


def _add_holdings(user: Any, rows: Sequence[Any]) -> None:
    """Two queries beside those of the floor above, however many rows."""
    ids = [row.pk for row in rows]
    holdings = panels.holdings(user, ids)
    codes: dict[int, list[str]] = {}
    for region in regions_of(user, ids):
        codes.setdefault(region.account_id, []).append(region.code)
    for row in rows:
        row.holding = holdings.get(row.pk) or panels.Holding()
        row.region_codes = codes.get(row.pk, [])


def regions_of(user: Any, account_ids: Sequence[int]) -> list[Region]:
    """The visible regions of accounts, by code."""
    seen = visible(user, Region).order_by().values("pk")
    return list(Region.objects.filter(account_id__in=account_ids, pk__in=seen).order_by("code"))


@dataclass(frozen=True, slots=True)
class RegionPart:
    """A region of an account, with its cells."""

    region: Region
    cells: Sequence[panels.CellUse]


@dataclass(frozen=True, slots=True)
class AccountPage:
    """All that the page of one account shows."""

    account: Account
    holding: panels.Holding
    regions: Sequence[RegionPart]
    events: Sequence[Event]

    @property
    def percent(self) -> int:
        """How much of the capacity of its cells is taken."""
        return round(100 * self.holding.instances / self.holding.capacity) if self.holding.capacity else 0


def find(user: Any, pk: int) -> Account:
    """The account; Http404 for one that the user cannot see."""
    return get_object_or_404(visible(user, Account), pk=pk)


def account_page(user: Any, pk: int) -> AccountPage:
    """The page of one account; Http404 for one that the user cannot see."""
    account = find(user, pk)
    cells = panels.cells(user, [pk]).get(pk, ())
    return AccountPage(
        account=account,
        holding=panels.holdings(user, [pk]).get(pk) or panels.Holding(),
        regions=[
            RegionPart(region, [cell for cell in cells if cell.region_id == region.pk])
            for region in regions_of(user, [pk])
        ],
        events=events_of(user, account, limit=FEW),
    )


def events_of(user: Any, account: Account, *, limit: int, before: int | None = None) -> list[Event]:
    """What happened in the account, newest first."""
    rows = Event.objects.filter(account_id=account.pk).select_related("actor").order_by("-at", "-id")
    if before is not None:
        rows = rows.filter(pk__lt=before)
    return list(visible(user, rows)[:limit])


@dataclass(frozen=True, slots=True)
class TimelinePage:
    """An account's timeline, `before` a given event; `older` is where the next page starts."""

    account: Account
    holding: panels.Holding
    events: Sequence[Event]
    older: int | None


def timeline_page(user: Any, pk: int, *, before: int | None) -> TimelinePage:
    """One page of the timeline."""
    account = find(user, pk)
    events = events_of(user, account, limit=EVENTS + 1, before=before)
    older = events[EVENTS - 1].pk if len(events) > EVENTS else None
    holding = panels.holdings(user, [pk]).get(pk) or panels.Holding()
    return TimelinePage(account, holding, events[:EVENTS], older)
