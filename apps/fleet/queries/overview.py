"""The first page: how the fleet is, what is wrong, who suffers, what changed.

One grouped query over (cell, health, version) carries every count on the page; it is answered from the
index `instance_cell_health_version` alone, and rolled up here. The rest is bounded: the newest of what is
wrong, the lines shown of it, and squares only for a fleet that fits into sight.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.core.cache import cache
from django.db.models import Count
from django.urls import reverse
from django.utils import timezone

from apps.access.choices import Permission
from apps.access.scoping import scopes_of, visible
from apps.accounts.choices import Cloud
from apps.core.models import Event
from apps.core.texts import natural

from ..choices import WRONG, Health, ProviderName
from ..models import Placement
from . import overview_rows as read
from .overview_rows import AFFECTING, CellLine, Seen

#: One square per instance up to this many in sight; past that, bars.
SQUARES = 2_000
#: Seconds that counts over more instances than that are kept, for each process and set of scopes.
TALLY_SECONDS = 1.0
TENANTS_SECONDS = 15.0
#: Seconds without any probe's look after which the page says so.
STALE_SECONDS = 60.0
#: Lines of the board; what is wrong comes first when there are more.
BOARD_ROWS = 60
#: Instances drawn singly on a line of the board that is a bar.
SINGLES = 24
RECENT_EVENTS = 12
BOARDS = {"cell": "By cell", "account": "By account", "version": "By version"}


class Tally(NamedTuple):
    """How many visible instances of a cell run a version in a state of health."""

    cell_id: int
    health: str
    version: str
    number: int


class Dot(NamedTuple):
    """One instance on the board. `state` is its health, or `changing`."""

    id: int
    name: str
    cell_id: int
    version: str
    state: str


@dataclass(frozen=True, slots=True)
class Work:
    """Operations now and of the last day."""

    running: int = 0
    waiting: int = 0
    failed: int = 0
    changing: frozenset[int] = frozenset()


@dataclass(slots=True)
class BoardRow:
    """A cell, account or version with its instances; `key` is what the list is filtered by."""

    key: Any
    label: str
    note: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    dots: list[Dot] = field(default_factory=list)
    url: str = ""
    locked: str = ""

    @property
    def total(self) -> int:
        return self.counts.total()

    @property
    def wrong(self) -> int:
        return sum(self.counts[health] for health in WRONG)

    @property
    def worst(self) -> str:
        """The worst health that there is in it."""
        return next((health for health in WRONG if self.counts[health]), Health.WELL)

    @property
    def aside(self) -> str:
        """What stands at the end of the line."""
        if not self.total:
            return "empty"
        return f"{self.wrong:,} wrong" if self.wrong else "all well" if self.counts[Health.WELL] else ""

    @property
    def more(self) -> int:
        """Instances that are wrong and not drawn."""
        return max(0, self.wrong - len(self.dots))


@dataclass
class Overview:
    """Everything on the page but what is wrong and what changed (`wrong.py`, `recent_events`)."""

    by: str
    as_of: datetime
    tallies: list[Tally]
    cells: dict[int, CellLine]
    work: Work
    tenants: int
    affected: int
    at_risk: dict[str, Decimal]
    newest_wrong: list[Seen] = field(default_factory=list)
    rows: list[BoardRow] = field(default_factory=list)
    hidden_rows: int = 0
    has_squares: bool = True

    @property
    def unseen_since(self) -> datetime | None:
        """Since when no probe has looked at anything, so that all of this may be old; None while they do.

        Simulated cells tell nothing of it: of those, only what has changed is read.
        """
        cells = [cell for cell in self.cells.values() if cell.provider != ProviderName.SIMULATED]
        looks = [cell.looked_at for cell in cells]
        last = max((look for look in looks if look is not None), default=None)
        return last if last and (self.as_of - last).total_seconds() > STALE_SECONDS else None

    @cached_property
    def total(self) -> int:
        return sum(tally.number for tally in self.tallies)

    @cached_property
    def health(self) -> Counter[str]:
        return _roll(self.tallies, lambda t: t.health)

    @property
    def well(self) -> int:
        return self.health[Health.WELL]

    @property
    def wrong(self) -> int:
        return sum(self.health[health] for health in WRONG)

    @property
    def serving(self) -> float | None:
        """Share in per cent of the instances that should serve which do it well; None where none should."""
        expected = self.total - self.health[Health.STOPPED]
        return 100 * self.well / expected if expected else None

    @property
    def expected(self) -> int:
        return self.total - self.health[Health.STOPPED]

    @property
    def versions(self) -> list[tuple[str, int]]:
        """Versions by how many run them, most first."""
        return _roll((t for t in self.tallies if t.version), lambda t: t.version).most_common()

    @property
    def accounts(self) -> int:
        return len({cell.account_id for cell in self.cells.values()})


def _roll(tallies: Iterable[Tally], key: Any) -> Counter[str]:
    found: Counter[str] = Counter()
    for tally in tallies:
        found[key(tally)] += tally.number
    return found


def overview(user: Any, by: str = "cell") -> Overview:
    """The overview as `user` may see it, its board by cell, account or version."""
    as_of, tallies, (affected, at_risk) = _counted(user)
    page = Overview(
        by=by if by in BOARDS else "cell",
        as_of=as_of,
        tallies=tallies,
        cells=cells_of(user, tallies),
        work=work_now(user),
        tenants=served_tenants(user, is_large=sum(tally.number for tally in tallies) > SQUARES),
        affected=affected,
        at_risk=at_risk,
    )
    page.has_squares = page.total <= SQUARES
    _lay_board(page, list(_dots(user, page)))
    page.newest_wrong.sort(key=lambda one: one.since, reverse=True)
    return page


def fleet_tally(user: Any) -> tuple[datetime, list[Tally]]:
    """Counts by cell, health and version, and the moment they are of: up to `TALLY_SECONDS` ago for a large fleet."""
    return _counted(user)[:2]


def _counted(user: Any) -> tuple[datetime, list[Tally], tuple[int, dict[str, Decimal]]]:
    """Counts as `fleet_tally` gives them, and the tenants that were affected then, as `affected_tenants` gives them.

    A hundred people who look at 100,000 instances cost one count a second, not a hundred. Kept by scopes: whose scopes
    change, or end, is counted for anew.
    """
    key = _key("tally", user)
    if (kept := cache.get(key)) is not None:
        as_of, rows, affected = kept
        return as_of, [Tally(*row) for row in rows], affected
    as_of = timezone.now()
    rows = read.counts(user)
    tallies = [Tally(*row) for row in rows]
    affected = affected_tenants(user) if any(t.health in AFFECTING for t in tallies) else (0, {})
    if sum(tally.number for tally in tallies) > SQUARES:
        cache.set(key, (as_of, rows, affected), TALLY_SECONDS)
    return as_of, tallies, affected


def _key(name: str, user: Any) -> str:
    return f"overview:{name}:{scopes_of(user, Permission.VIEW).digest}"


def cells_of(user: Any, tallies: Iterable[Tally]) -> dict[int, CellLine]:
    """The cells that hold visible instances and those the user sees empty.

    `is_seen`: they may open it. `looked_at`: when a probe last wrote what it saw of one instance there; each look is
    at all of them, so that one stands for the cell. None for a simulated cell.
    """
    found = read.cells(user, held=list({tally.cell_id for tally in tallies}))
    return {cell.pk: cell for cell in map(CellLine._make, found)}


def work_now(user: Any) -> Work:
    """Operations that run, wait, or failed in the last 24 hours, and which instances are being changed."""
    for running, waiting, failed, changing in read.work(user, since=timezone.now() - timedelta(hours=24)):
        return Work(running, waiting, failed, frozenset(changing or ()))
    return Work()


def served_tenants(user: Any, *, is_large: bool = False) -> int:
    """How many tenants the visible placements serve; of a large fleet as it was up to `TENANTS_SECONDS` ago."""
    key = _key("tenants", user)
    if is_large and (kept := cache.get(key)) is not None:
        return int(kept)
    number = int(visible(user, Placement).order_by().aggregate(n=Count("tenant_id", distinct=True))["n"])
    if is_large:
        cache.set(key, number, TENANTS_SECONDS)
    return number


def affected_tenants(user: Any) -> tuple[int, dict[str, Decimal]]:
    """Tenants on failing or degraded instances, and by currency what their open subscriptions bring in a month."""
    found = read.affected(user)
    return sum(n for _, n, _ in found), {
        currency: money for currency, _, money in found if currency and money
    }


def recent_events(user: Any, *, limit: int = RECENT_EVENTS) -> list[Event]:
    """What happened in the last hour, newest first."""
    return read.events(user, limit, since=timezone.now() - timedelta(hours=1))


def _dots(user: Any, page: Overview) -> Iterable[Dot]:
    """All visible instances while they fit into sight; past that the newest of what is wrong. What is wrong is kept on the page."""
    if not page.has_squares and not page.wrong:
        return
    for seen in map(Seen._make, read.drawn(user, None if page.has_squares else BOARD_ROWS * SINGLES)):
        if seen.health in WRONG:
            page.newest_wrong.append(seen)
        state = "changing" if seen.pk in page.work.changing else seen.health
        yield Dot(seen.pk, seen.name, seen.cell_id, seen.version, state)


def _lay_board(page: Overview, dots: list[Dot]) -> None:
    """Give the page its rows: counts from the tallies, dots where they are drawn."""
    rows = _rows(page)
    key = _keys(page)
    for tally in page.tallies:
        rows[key(tally)].counts[tally.health] += tally.number
    for dot in dots:
        row = rows.get(key(dot))
        if row is not None and (page.has_squares or len(row.dots) < SINGLES):
            row.dots.append(dot)
    if len(rows) > BOARD_ROWS:
        # The worst in front, so that what is cut off is well.
        ordered = sorted(rows.values(), key=lambda row: (-row.wrong, row.label))
        page.rows, page.hidden_rows = ordered[:BOARD_ROWS], len(ordered) - BOARD_ROWS
    else:
        page.rows = list(rows.values())


def _keys(page: Overview) -> Any:
    if page.by == "version":
        return lambda row: row.version
    if page.by == "account":
        return lambda row: page.cells[row.cell_id].account_id if row.cell_id in page.cells else 0
    return lambda row: row.cell_id


def _rows(page: Overview) -> dict[Any, BoardRow]:
    """Empty rows of the board, in the order they are shown."""
    if page.by == "version":
        found = sorted({tally.version for tally in page.tallies}, key=natural, reverse=True)
        return {v: BoardRow(v, v or "none yet", url=_filtered(version=v) if v else "") for v in found}
    if page.by == "account":
        return _account_rows(page.cells)
    url = reverse("fleet:cell", args=[0])  # once, not for each cell
    return {
        pk: BoardRow(
            pk,
            cell.name,
            cell.region,
            url=url.replace("/0/", f"/{pk}/") if cell.is_seen else "",
            locked=cell.locked_reason,
        )
        for pk, cell in page.cells.items()
    }


def _account_rows(cells: Mapping[int, CellLine]) -> dict[Any, BoardRow]:
    seen = {cell.account_id for cell in cells.values() if cell.is_seen}
    return {
        cell.account_id: BoardRow(
            cell.account_id,
            cell.account,
            Cloud(cell.cloud).label,
            url=_filtered(account=cell.account) if cell.account_id in seen else "",
        )
        for cell in sorted(cells.values(), key=lambda cell: cell.account)
    }


def _filtered(**query: str) -> str:
    return f"{reverse('fleet:instances')}?{urlencode(query)}"
