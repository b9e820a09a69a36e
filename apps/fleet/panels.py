"""What detail pages say about a thing: a list of attributes, drawn by one template."""

from collections.abc import Collection
from dataclasses import dataclass
from math import floor
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from apps.access.choices import Permission
from apps.access.scoping import scopes_of
from apps.core.templatetags.ui import ago, at

from .charting import CHARTS
from .choices import Health, Wanted
from .models import Certificate, Instance
from .queries.certificates import issued_by, problems_of
from .queries.charts import COMPARED
from .queries.instances import InstanceHead
from .queries.metrics import RANGES
from .queries.overview import BOARDS, SQUARES, Overview


@dataclass(frozen=True, slots=True)
class Attribute:
    """One line: a label, its value, where it leads, and what else is to be known."""

    label: str
    value: Any
    url: str = ""
    note: str = ""
    mono: bool = False

    @property
    def copy(self) -> bool:
        """What is written in one width is made to be copied."""
        return self.mono and bool(self.value)


@dataclass(frozen=True, slots=True)
class Panel:
    """Attributes under a heading."""

    title: str
    attributes: tuple[Attribute, ...]


def instance_panels(head: InstanceHead) -> list[Panel]:
    """What an instance is, and how it was last seen."""
    i, cell = head.instance, head.instance.cell
    account = cell.region.account
    seen = head.sees_cell
    is_behind = bool(i.version) and i.version != i.wanted_version
    return [
        Panel(
            "Seen",
            (
                Attribute("Last look", ago(i.observed_at)),
                Attribute(
                    "Version", i.version or "none", note=f"{i.wanted_version} is wanted" if is_behind else ""
                ),
                Attribute("Endpoint", i.endpoint, mono=True),
                Attribute("Starts", i.generation or None),
            ),
        ),
        Panel(
            "Decided",
            (
                Attribute("Wanted", f"{Wanted(i.wanted).label.lower()} on {i.wanted_version}"),
                Attribute("Kind", i.get_kind_display()),
                Attribute(
                    "Cell",
                    cell.name,
                    reverse("fleet:cell", args=[cell.pk]) if seen else "",
                    cell.get_provider_display(),
                ),
                Attribute(
                    "Account", account.name, reverse("accounts:account", args=[account.pk]) if seen else ""
                ),
                Attribute("Region", cell.region.code, note=cell.region.jurisdiction),
                Attribute("Made", at(i.created_at, "date")),
            ),
        ),
        *certificate_panel(i),
    ]


def certificate_panel(instance: Instance) -> list[Panel]:
    """What it serves, as the last handshake saw it; none where there was no handshake."""
    row: Certificate | None = getattr(instance, "certificate", None)
    if row is None:
        return []
    said = ", ".join(words for _, words in problems_of(row))
    return [
        Panel(
            "Certificate",
            (
                Attribute("Ends", at(row.not_after, "date") if row.not_after else None, note=said),
                Attribute("For", ", ".join(row.names[:6])),
                Attribute("Issuer", issued_by(row)),
                Attribute("Key", row.key),
                Attribute("Seen", ago(row.looked_at), note=row.error),
            ),
        )
    ]


# --- Tabs, crumbs, links ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Link:
    """A link; `active`: it leads to where one is."""

    label: str
    url: str
    active: bool = False


def instance_tabs(head: InstanceHead, tab: str) -> list[Link]:
    """The tabs of an instance that the reader may open."""
    pages = [
        ("overview", "Overview", "fleet:instance", ""),
        ("metrics", "Metrics", "fleet:instance_charts", ""),
        ("logs", "Logs", "fleet:instance_log_page", Permission.READ_LOGS),
        ("operations", "Operations", "fleet:instance_operations", ""),
        ("changes", "What changed", "fleet:instance_changes", ""),
        ("timeline", "Timeline", "fleet:instance_timeline", ""),
        ("diagnostics", "Diagnostics", "fleet:instance_diagnostics", Permission.DIAGNOSE),
    ]
    return [
        Link(label, reverse(url_name, args=[head.instance.pk]), name == tab)
        for name, label, url_name, permission in pages
        if not permission or permission in head.may
    ]


def instance_trail(head: InstanceHead) -> list[tuple[str, str]]:
    """Crumbs: the list, the cell where the reader sees it, the instance."""
    i = head.instance
    cell = [(i.cell.name, reverse("fleet:cell", args=[i.cell_id]))] if head.sees_cell else []
    return [("Instances", reverse("fleet:instances")), *cell, (i.name, "")]


def charts_of(data: str, span: str, compared: Collection[str] = ()) -> list[dict[str, str]]:
    """The charts, each with the address of its figures under `data`."""
    asked = {"range": span, "compare": list(compared) or ["none"]}
    return [
        {
            "id": f"chart-{name}",
            "label": label,
            "unit": unit,
            "url": f"{data}?{urlencode({**asked, 'only': name}, doseq=True)}",
        }
        for name, label, unit in CHARTS
    ]


def range_links(span: str, compared: Collection[str]) -> list[Link]:
    """The ranges to choose from, what it is compared with kept."""
    kept = list(compared) or ["none"]
    return [Link(name, _query(range=name, compare=kept), name == span) for name in RANGES]


def compare_links(span: str, compared: Collection[str], offered: Collection[str] = COMPARED) -> list[Link]:
    """What a chart can be compared with; each link switches one on or off."""
    found = []
    for name in offered:
        after = [n for n in offered if (n in compared) != (n == name)]
        found.append(Link(COMPARED[name], _query(range=span, compare=after or ["none"]), name in compared))
    return found


def _query(**asked: Any) -> str:
    return f"?{urlencode(asked, doseq=True)}"


def board_links(by: str) -> list[Link]:
    """The other ways to arrange the board."""
    return [
        Link(label.lower(), "?" if name == "cell" else f"?by={name}")
        for name, label in BOARDS.items()
        if name != by
    ]


def empty_fleet(user: Any) -> dict[str, str]:
    """What to do next where no instance is in sight."""
    if scopes_of(user, Permission.VIEW).everything:
        return {
            "empty_text": "Start one on this machine with `manage.py bootstrap`, a simulated fleet with "
            "`manage.py seed --instances 1000`, or enter an account, a cell and an instance by hand.",
            "empty_url": reverse("admin:fleet_instance_add") if user.is_staff else "",
            "empty_action": "Enter an instance" if user.is_staff else "",
        }
    return {"empty_text": "None lies in the scopes you were given; ask whoever manages access if one should."}


# --- Figures ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kpi:
    """A figure, what it means, and where it leads."""

    label: str
    value: str
    note: str
    url: str
    is_bad: bool = False


def overview_kpis(page: Overview) -> list[Kpi]:
    """The figures above the overview, all true at this moment."""
    return [_serving(page), _affected(page), _versions(page), _work(page), _not_serving(page)]


def _list_of(**query: Any) -> str:
    return f"{reverse('fleet:instances')}?{urlencode(query, doseq=True)}"


def _serving(page: Overview) -> Kpi:
    # Rounded down: 100 % is said only of all.
    share = "—" if page.serving is None else f"{floor(page.serving * 10) / 10:g} %"
    note = f"{page.well:,} of {page.expected:,} instances"
    return Kpi("Serving well", share, note, _list_of(health=Health.WELL))


def _affected(page: Overview) -> Kpi:
    money = " + ".join(f"{currency} {amount:,.0f}" for currency, amount in sorted(page.at_risk.items()))
    note = f"{money} a month at risk" if money else "nothing at risk"
    return Kpi(
        "Tenants affected now", f"{page.affected:,}", note, _list_of(health="wrong"), bool(page.affected)
    )


def _versions(page: Overview) -> Kpi:
    if not page.versions:
        return Kpi("Versions", "—", "nothing runs", "?by=version")
    (version, most), others = page.versions[0], page.versions[1:]
    share = f"{floor(1000 * most / sum(n for _, n in page.versions)) / 10:g} %"
    rest = sum(n for _, n in others)
    words = (
        f"{rest:,} on {len(others)} other{'s' if len(others) > 1 else ''}" if others else "and nothing else"
    )
    return Kpi(f"On {version}", share, words, "?by=version")


def _work(page: Overview) -> Kpi:
    work = page.work
    waits = f"{work.waiting:,} waiting · " if work.waiting else ""
    url = reverse("operations:list")
    return Kpi(
        "Operations running",
        f"{work.running:,}",
        f"{waits}{work.failed:,} failed in 24 h",
        f"{url}?state=failed" if work.failed else url,
        bool(work.failed),
    )


def _not_serving(page: Overview) -> Kpi:
    starting, stopped = page.health[Health.STARTING], page.health[Health.STOPPED]
    locked = sum(1 for cell in page.cells.values() if cell.locked_reason)
    note = f"{starting:,} starting" + (
        f" · {locked} cell{'s' if locked > 1 else ''} locked" if locked else ""
    )
    return Kpi("Stopped on purpose", f"{stopped:,}", note, _list_of(health=Health.STOPPED))


def cell_panels(cell: Any) -> dict[str, Any]:
    """Where a cell is, what it holds and can hold, and what its page links to."""
    account, row = cell.region.account, cell.board
    row.url = _list_of(cell=cell.name)
    attributes = (
        Attribute(
            "Account",
            account.name,
            reverse("accounts:account", args=[account.pk]),
            account.get_owner_display(),
        ),
        Attribute("Region", cell.region.code, note=cell.region.jurisdiction),
        Attribute("Provider", cell.get_provider_display()),
        Attribute("Made", at(cell.created_at, "date")),
    )
    return {
        "panels": [Panel("Cell", attributes)],
        "trail": [("Cells", reverse("fleet:cells")), (cell.name, "")],
        "instances_url": row.url,
        "wrong_url": _list_of(cell=cell.name, health="wrong"),
        "versions": [
            {"label": v, "number": n, "url": _list_of(cell=cell.name, version=v)} for v, n in cell.versions
        ],
        "squares": row.total <= SQUARES,
        "rows": [row],
        "capacity_tone": "bad"
        if row.total >= cell.capacity
        else "warn"
        if row.total > 0.85 * cell.capacity
        else "ok",
    }
