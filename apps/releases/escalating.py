"""The security clock asks people before it runs out: at each stage of its time once, while anybody is exposed.

Stages are those of STAGES and of the steps (`ClockStep`). At a stage everybody of the steps up to it is asked, and who
answers for the accounts in which somebody is exposed, about their own. A floor above may listen (`on_stage`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from apps.access import notices as letters
from apps.access.choices import Permission
from apps.access.services import system_actor
from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record

from .blockers import blockers_of, latest_moves
from .choices import CLOCK_HOURS, Severity
from .models import Advisory, ClockAsk, ClockPolicy, ClockStep, Exposure
from .services import given_reason, require_everywhere

#: Per cent of the time from when an advisory was known to its deadline; at 100 it is missed.
STAGES = (50, 75, 90, 100)
#: Instances that a letter names.
LINES = 20


@dataclass(frozen=True, slots=True)
class Stage:
    """What a listener hears: a stage was reached, or (`is_over`) nobody is exposed any more."""

    advisory: Advisory
    percent: int
    exposed: int
    is_over: bool = False


Listener = Callable[[Stage], None]
_listeners: list[Listener] = []


def on_stage(listener: Listener) -> None:
    """Have `listener` called in the transaction that keeps a stage, and when it is over."""
    if listener not in _listeners:
        _listeners.append(listener)


def hours_of(severity: str) -> int:
    """How long an advisory of this severity has."""
    policy = ClockPolicy.objects.filter(severity=severity).first()
    return policy.hours if policy else CLOCK_HOURS[Severity(severity)]


# --- The policy ----------------------------------------------------------------------------------


def set_hours(*, severity: str, hours: int, actor: Any, reason: str) -> ClockPolicy:
    """Say how long advisories of a severity have that come in from now on; the clocks that run keep their deadline."""
    require_everywhere(actor, Permission.MANAGE_RELEASES)
    reason = given_reason(reason)
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        policy = ClockPolicy.objects.select_for_update().filter(severity=severity).first()
        policy = policy or ClockPolicy(severity=severity)
        policy.hours = hours
        policy.full_clean()
        policy.save()
        title = f"Security clock: {hours} h for {policy.get_severity_display().lower()}"
        record([event("clock.set", title, tone=Tone.WARN)])
    return policy


def add_step(step: ClockStep, *, actor: Any, reason: str) -> ClockStep:
    """Have somebody asked from a share of the time on."""
    require_everywhere(actor, Permission.MANAGE_RELEASES)
    reason = given_reason(reason)
    step.full_clean()
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        step.save()
        record([event("clock.step", f"Security clock: {step.name} is asked at {step.percent} %")])
    return step


def remove_step(step: ClockStep, *, actor: Any, reason: str) -> None:
    """Have somebody asked no longer."""
    require_everywhere(actor, Permission.MANAGE_RELEASES)
    reason = given_reason(reason)
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        title = f"Security clock: {step.name} is no longer asked at {step.percent} %"
        record([event("clock.step", title, tone=Tone.WARN)])
        step.delete()


# --- The clock -----------------------------------------------------------------------------------


def ask_before_deadlines() -> int:
    """Ask whoever is to be asked by now, of each advisory with somebody exposed; gives how many stages were told."""
    end_asks()
    exposed = Exposure.objects.filter(until__isnull=True).order_by().values("advisory_id")
    told = 0
    for advisory in Advisory.objects.filter(pk__in=exposed, withdrawn=False).order_by("deadline")[:500]:
        told += _ask(advisory)
    return told


def end_asks() -> int:
    """See for which advisories that were asked about nobody is exposed any more; gives how many."""
    asked = ClockAsk.objects.filter(ended_at__isnull=True).order_by().values("advisory_id")
    still = Exposure.objects.filter(until__isnull=True).order_by().values("advisory_id")
    over = Advisory.objects.filter(pk__in=asked).filter(~Q(pk__in=still) | Q(withdrawn=True))
    for advisory in over:
        with transaction.atomic(durable=True), acting(system_actor("exposure"), reason="nobody is exposed"):
            rows = ClockAsk.objects.filter(advisory=advisory, ended_at__isnull=True)
            if rows.update(ended_at=timezone.now()):
                _hear(Stage(advisory, 0, 0, is_over=True))
    return len(over)


def _ask(advisory: Advisory) -> bool:
    steps = list(ClockStep.objects.filter(severity__in=["", advisory.severity]))
    whole = advisory.deadline - advisory.known_at
    used = (timezone.now() - advisory.known_at) / whole * 100 if whole else 100
    reached = max((p for p in {*STAGES, *(s.percent for s in steps)} if p <= used), default=0)
    if not reached:
        return False
    with (
        transaction.atomic(durable=True),
        acting(system_actor("exposure"), reason=f"{reached} % of the security clock is used"),
    ):
        locked = Advisory.objects.select_for_update().get(pk=advisory.pk)
        if ClockAsk.objects.filter(advisory=locked, ended_at__isnull=True, percent__gte=reached).exists():
            return False
        _tell(locked, reached, [step for step in steps if step.percent <= reached])
    return True


def _tell(advisory: Advisory, percent: int, steps: list[ClockStep]) -> None:
    open_ones = Exposure.objects.filter(advisory=advisory, until__isnull=True)
    exposed = open_ones.count()
    title = f"Security clock of {advisory}: {_left(advisory, percent)}, {exposed:,} instances exposed"
    asked: dict[str, str] = {step.address: step.name for step in steps}
    if not asked and settings.SECURITY_EMAIL:
        asked = {settings.SECURITY_EMAIL: "security"}
    body = _body(advisory, title, open_ones)
    for address in asked:
        letters.write([], title, body, address=address)
    owners = open_ones.exclude(instance__cell__region__account__contact="").order_by()
    where = "instance__cell__region__account"
    for pk, name, contact in set(owners.values_list(where, f"{where}__name", f"{where}__contact")):
        if contact not in asked:
            asked[contact] = f"who answers for {name}"
            mine = open_ones.filter(instance__cell__region__account_id=pk)
            letters.write([], f"{title} ({name})"[:200], _body(advisory, title, mine), address=contact)
    names = [f"{name} <{address}>" for address, name in asked.items()]
    ClockAsk.objects.create(
        advisory=advisory, percent=percent, at=timezone.now(), exposed=exposed, asked=names
    )
    why = (
        f"asked: {', '.join(names)}"
        if names
        else "nobody is named to be asked; name somebody on the rules' page"
    )
    record([event("advisory.deadline", title, tone=Tone.BAD, why=why)])
    _hear(Stage(advisory, percent, exposed))


def _left(advisory: Advisory, percent: int) -> str:
    left = advisory.deadline - timezone.now()
    if left <= timedelta(0):
        return "missed"
    hours = left.total_seconds() / 3600
    words = f"{hours:.0f} h" if hours >= 2 else f"{hours * 60:.0f} min"
    return f"{percent} % used, {words} left"


def _body(advisory: Advisory, title: str, exposures: QuerySet[Exposure]) -> str:
    rows = list(exposures.select_related("instance").order_by("since", "instance__name")[:LINES])
    blocked = blockers_of(rows, latest_moves([row.instance_id for row in rows]))
    lines = [f"- {row.instance} ({row.version}): {blocked[row.pk] or 'no rollout yet'}" for row in rows]
    more = exposures.count() - len(rows)
    tail = [f"and {more:,} more"] if more > 0 else []
    deadline = f"{advisory.deadline:%Y-%m-%d %H:%M} UTC"
    return "\n".join([f"{title}.", advisory.summary, f"Until {deadline}.", "", *lines, *tail, ""])


def _hear(stage: Stage) -> None:
    for listener in _listeners:
        listener(stage)
