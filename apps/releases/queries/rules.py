"""The rules' page: limits with the room they leave, freezes, holds."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from apps.access.choices import Permission
from apps.access.scoping import scopes_of, visible

from ..choices import CLOCK_HOURS, Severity
from ..models import BlastPolicy, ClockPolicy, ClockStep, Freeze, Hold, MetricSource, Window
from ..rooms import Room, rooms_of
from ..windows import words_of

#: Windows that the page shows; the calendar shows when they open.
WINDOWS = 100


@dataclass(frozen=True, slots=True)
class RulesPage:
    """All that the page shows."""

    rooms: list[Room]
    freezes: list[Freeze]
    holds: list[Hold]
    windows: list[Window]
    more_windows: int
    hours: list[tuple[str, int]]
    steps: list[ClockStep]
    security_email: str
    sources: list[MetricSource]
    may_manage: bool
    may_approve: bool
    may_hold: bool
    may_freeze: bool


def rules_page(user: Any) -> RulesPage:
    """The rules that the reader sees, of what has not ended."""
    now, scopes = timezone.now(), scopes_of(user, Permission.ROLL_OUT)
    policies = visible(user, BlastPolicy.objects.select_related("wanted_by", "raised_by"))
    freezes = visible(user, Freeze.objects.select_related("account", "end_asked_by")).filter(ends_at__gt=now)
    rows = _with_may(user, Hold.objects.select_related("tenant", "set_by", "override_asked_by"))
    windows = visible(user, _with_may(user, Window.objects.select_related("tenant", "asked_by"))).order_by(
        "tenant__name", "opens_at", "pk"
    )
    shown = list(windows[:WINDOWS])
    for window in shown:
        window.words = words_of((window.days, window.opens_at, window.minutes))
    own = dict(visible(user, ClockPolicy).values_list("severity", "hours"))
    return RulesPage(
        rooms=rooms_of(list(policies)),
        freezes=list(freezes[:100]),
        holds=list(visible(user, rows).filter(until__gt=now, overridden_by__isnull=True)[:200]),
        windows=shown,
        more_windows=max(0, windows.count() - WINDOWS) if len(shown) == WINDOWS else 0,
        hours=[(Severity(value).label, own.get(value, hours)) for value, hours in CLOCK_HOURS.items()],
        steps=list(visible(user, ClockStep)),
        security_email=settings.SECURITY_EMAIL,
        sources=list(visible(user, MetricSource)),
        may_manage=scopes_of(user, Permission.MANAGE_RELEASES).everything,
        may_approve=scopes_of(user, Permission.APPROVE).everything,
        may_hold=bool(scopes.everything or scopes.tenants),
        may_freeze=bool(scopes.everything or scopes.accounts),
    )


def _with_may(user: Any, rows: QuerySet[Any]) -> QuerySet[Any]:
    """Each row with `may`: whether the reader may roll out to its tenant, and so end it."""
    mine = visible(user, rows.model, Permission.ROLL_OUT).order_by().filter(pk=OuterRef("pk"))
    found: QuerySet[Any] = rows.annotate(may=Exists(mine))
    return found
