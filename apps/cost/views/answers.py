"""What the money's pages have in common: the question, the tabs, a page of many rows."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.paginator import Page, Paginator
from django.http import HttpRequest
from django.urls import reverse

from apps.access.choices import Permission
from apps.access.scoping import scopes_of

from ..forms import Question, default_month
from ..queries import figures

PER_PAGE = (25, 50, 100, 200)
#: Groups of pages: a group's first page is where its tab leads. Of each page the name, the word, whether it takes the
#: permission on everything.
GROUPS: tuple[tuple[str, tuple[tuple[str, str, bool], ...]], ...] = (
    ("Overview", (("overview", "Overview", False),)),
    ("Breakdown", (("breakdown", "Breakdown", False),)),
    ("Anomalies", (("anomalies", "Anomalies", False),)),
    (
        "Earning",
        (
            ("margins", "Margins", False), ("heavy", "Heavy hitters", False), ("units", "Unit cost", False),
            ("months", "Months", False), ("cohorts", "Cohorts", False), ("revenue", "Expected and charged", False),
        ),
    ),
    ("Price lab", (("lab", "Price lab", False),)),
    (
        "Decisions",
        (("idle", "Idle instances", False), ("placing", "Dedicated or shared", True), ("move", "What if it moved", True)),
    ),
    (
        "Books",
        (
            ("bills", "Bills", True), ("rules", "Rules", True), ("unallocated", "Unallocated", True), ("usage", "Usage", False),
            ("prices", "Prices", True), ("discounts", "Discounts", True), ("commitments", "Commitments", True),
            ("budgets", "Budgets", True), ("components", "Components", True), ("sources", "Sources", True), ("sub-accounts", "Sub-accounts", True), ("rates", "Rates", True),
        ),
    ),
)  # fmt: skip
#: Pages that are books of entries.
LEDGERS = frozenset(
    {"prices", "discounts", "commitments", "budgets", "components", "sources", "sub-accounts", "rates"}
)


def keeps_books(user: Any) -> bool:
    """Whether the reader may import bills and change rules: only on everything."""
    return scopes_of(user, Permission.KEEP_BOOKS).everything


def require_all(request: HttpRequest, permission: str = Permission.SEE_COST) -> None:
    """Raises PermissionDenied for who holds the permission on a part only: the page spans everybody's."""
    if not scopes_of(request.user, permission).everything:
        label = Permission(permission).label
        raise PermissionDenied(
            f"You need the permission “{label}” on everything; ask whoever manages access."
        )


def frame(request: HttpRequest, tab: str, **context: Any) -> dict[str, Any]:
    """The context that every page needs: tabs, months, what was asked."""
    asked = Question(request.GET).asked()
    known = figures.months()
    month = default_month(known, asked)
    query = f"?month={month:%Y-%m}" if month and "month" in asked else ""
    sees_all = figures.sees_all(request.user)
    tabs, parts = _tabs(tab, query, sees_all)
    return {
        "tabs": tabs, "parts_of_tab": parts, "months": known, "month": month, "asked": asked, "sees_all": sees_all,
        "keeps_books": keeps_books(request.user), **context,
    }  # fmt: skip


def _tabs(current: str, query: str, sees_all: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The tabs, and the pages behind the one that is open where there are several."""
    tabs, parts = [], list[dict[str, Any]]()
    for label, pages in GROUPS:
        shown = [
            {"label": word, "url": _address(name) + query, "active": name == current}
            for name, word, needs_all in pages
            if sees_all or not needs_all
        ]
        active = any(one["active"] for one in shown)
        if shown:
            tabs.append({"label": label, "url": shown[0]["url"], "active": active})
        if active and len(shown) > 1:
            parts = shown
    return tabs, parts


def _address(name: str) -> str:
    return reverse("cost:ledger", args=[name]) if name in LEDGERS else reverse(f"cost:{name}")


def paged(request: HttpRequest, rows: Any) -> dict[str, Any]:
    """One page of rows (a list or a queryset), as the pager component takes it."""
    wanted = request.GET.get("per_page", "")
    per_page = int(wanted) if wanted in map(str, PER_PAGE) else 50
    page: Page[Any] = Paginator(rows, per_page).get_page(request.GET.get("page"))
    return {"page": page, "per_page": per_page}
