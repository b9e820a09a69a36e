"""The calendar: when rollouts run or start, when nothing may start, when tenants may be changed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any

from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from apps.access.scoping import visible

from ..choices import RolloutState
from ..models import Freeze, Rollout, Window
from ..windows import openings, zone_of

WEEKS = 4
#: Of each kind, so many lines a day; the rest is counted.
LINES = 4
#: Windows that are looked at, rollouts and freezes that are shown.
MOST_WINDOWS, MOST = 500, 100


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing on a day. `tone` as of a tag, `when` by the reader's clock."""

    tone: str
    what: str
    when: str
    url: str = ""


@dataclass(slots=True)
class Day:
    """A day of the reader's zone."""

    date: date
    is_today: bool
    entries: list[Entry] = field(default_factory=list)
    windows: list[Entry] = field(default_factory=list)

    @property
    def more_windows(self) -> int:
        return max(0, len(self.windows) - LINES)


@dataclass(frozen=True, slots=True)
class CalendarPage:
    """Four weeks from a Monday on, and where the weeks before and after are."""

    weeks: list[list[Day]]
    before: date
    after: date
    is_cut: bool


def calendar_page(user: Any, start: str) -> CalendarPage:
    """The weeks from the Monday of `start` (a date; anything else is this week). Four queries, whatever they hold."""
    today = timezone.localdate()
    try:
        monday = date.fromisoformat(start)
    except ValueError:
        monday = today
    monday = min(max(monday, date(2000, 1, 3)), date(2100, 1, 1))
    monday -= timedelta(days=monday.weekday())
    days = [Day(monday + timedelta(days=n), monday + timedelta(days=n) == today) for n in range(WEEKS * 7)]
    since, until = _midnight(monday), _midnight(monday + timedelta(days=WEEKS * 7))
    for entry, begins, ends in [*_freezes(user, since, until), *_rollouts(user, since, until)]:
        for day in _days_of(days, begins, ends):
            day.entries.append(entry)
    windows = list(
        visible(user, Window.objects.filter(is_on=True).select_related("tenant")).order_by(
            "tenant__name", "pk"
        )[: MOST_WINDOWS + 1]
    )
    for window in windows[:MOST_WINDOWS]:
        url = reverse("tenants:tenant", args=[window.tenant_id])
        weekly = (window.days, window.opens_at, window.minutes)
        for begins, ends in openings(weekly, zone_of(window.tenant.zone), since, until):
            for day in _days_of(days, begins, begins):
                day.windows.append(Entry("idle", window.tenant.name, _span(begins, ends), url))
    for day in days:
        day.windows.sort(key=lambda entry: (entry.when, entry.what))
    return CalendarPage(
        weeks=[days[n : n + 7] for n in range(0, len(days), 7)],
        before=max(monday - timedelta(weeks=WEEKS), date(2000, 1, 3)),
        after=monday + timedelta(weeks=WEEKS),
        is_cut=len(windows) > MOST_WINDOWS,
    )


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time()))


def _days_of(days: list[Day], begins: datetime, ends: datetime) -> Iterator[Day]:
    first, last = timezone.localtime(begins).date(), timezone.localtime(ends).date()
    return (day for day in days if first <= day.date <= last)


def _span(begins: datetime, ends: datetime) -> str:
    return f"{timezone.localtime(begins):%H:%M}–{timezone.localtime(ends):%H:%M}"


def _freezes(user: Any, since: datetime, until: datetime) -> Iterator[tuple[Entry, datetime, datetime]]:
    rows = visible(user, Freeze.objects.select_related("account")).filter(
        starts_at__lt=until, ends_at__gt=since
    )
    for freeze in rows.order_by("starts_at")[:MOST]:
        where = freeze.account.name if freeze.account else "everywhere"
        yield (
            Entry("warn", f"Freeze: {freeze.name}", where, reverse("releases:rules")),
            freeze.starts_at,
            freeze.ends_at,
        )


def _rollouts(user: Any, since: datetime, until: datetime) -> Iterator[tuple[Entry, datetime, datetime]]:
    """Those that start in this time, and those that ran in it."""
    ran = Q(started_at__lt=until) & (Q(finished_at__gt=since) | Q(finished_at__isnull=True))
    rows = visible(user, Rollout.objects.select_related("release"))
    rows = rows.filter(Q(state=RolloutState.DRAFT, start_at__gte=since, start_at__lt=until) | ran).order_by(
        "-pk"
    )
    for rollout in rows[:MOST]:
        begins = rollout.started_at or rollout.start_at
        if begins is None:
            continue
        ends = begins if rollout.started_at is None else rollout.finished_at or max(begins, timezone.now())
        words = "starts" if rollout.started_at is None else rollout.get_state_display().lower()
        tone = {
            RolloutState.SUCCEEDED: "ok",
            RolloutState.ABORTED: "bad",
            RolloutState.ROLLED_BACK: "bad",
        }.get(RolloutState(rollout.state), "busy")
        when = f"{words} {timezone.localtime(begins):%H:%M}" if rollout.started_at is None else words
        url = reverse("releases:rollout", args=[rollout.pk])
        yield Entry(tone, f"#{rollout.pk} to {rollout.release.version}", when, url), begins, ends
