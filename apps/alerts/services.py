"""What people do about incidents: acknowledge, command, note, resolve; silences."""

from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model
from django.utils import timezone

from apps.access.choices import Permission
from apps.access.scoping import allowed, require, scopes_of
from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record

from . import escalation, grouping, muting, processing
from .choices import OPEN_INCIDENT, AlertState, EscalationState, IncidentState
from .health import SOURCE as OWN
from .models import Alert, Incident, IncidentNote, Silence
from .telling import of_incident, tell


class Refused(Exception):
    """The request was understood and makes no sense now; nothing was changed."""


def acknowledge(incident: Incident, *, actor: Any) -> Incident:
    """Somebody looks after it: no further step is taken. Who acknowledges first commands it, unless somebody does.

    Raises Refused for one that is not triggered any more.
    """
    require(actor, Permission.ACKNOWLEDGE, incident)
    with transaction.atomic(durable=True), acting(actor, reason=f"acknowledges incident {incident.pk}"):
        locked = Incident.objects.select_for_update().get(pk=incident.pk)
        if locked.state != IncidentState.TRIGGERED:
            by = f" by {locked.acknowledged_by}" if locked.acknowledged_by else ""
            raise Refused(f"It is {locked.get_state_display().lower()} already{by}.")
        locked.state, locked.acknowledged_by, locked.acknowledged_at = (
            IncidentState.ACKNOWLEDGED,
            actor,
            timezone.now(),
        )
        locked.commander = locked.commander or actor
        locked.save()
        escalation.end(locked, EscalationState.ACKNOWLEDGED)
        tell([of_incident(locked, "acknowledged", f"Acknowledged by {actor}", tone=Tone.BUSY, actor=actor)])
    return locked


def take_command(incident: Incident, *, actor: Any) -> None:
    """From now on this person leads. Raises Refused once it is over."""
    require(actor, Permission.ACKNOWLEDGE, incident)
    with transaction.atomic(durable=True), acting(actor, reason=f"commands incident {incident.pk}"):
        locked = Incident.objects.select_for_update().get(pk=incident.pk)
        if not locked.is_open:
            raise Refused("It is resolved.")
        if locked.commander_id != actor.pk:
            locked.commander = actor
            locked.save()
            tell([of_incident(locked, "commander", f"{actor} takes command", actor=actor)])


def resolve(incident: Incident, *, actor: Any, reason: str) -> None:
    """It is over, says a person. What a monitor outside says again opens a new one.

    Raises Refused while the portal itself sees that it goes on.
    """
    require(actor, Permission.ACKNOWLEDGE, incident)
    reason = _reason(reason)
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        processing.wait_alone()
        locked = Incident.objects.select_for_update().get(pk=incident.pk)
        if locked.state not in OPEN_INCIDENT:
            raise Refused("It is resolved already.")
        still = Alert.objects.filter(incident=locked, state=AlertState.OPEN, source_name=OWN).first()
        if still is not None:
            raise Refused(f"It goes on: {still}. Mend it, or silence it if nobody shall hear of it.")
        locked.state, locked.resolved_at, locked.resolved_by = IncidentState.RESOLVED, timezone.now(), actor
        locked.save()
        Alert.objects.filter(incident=locked, state=AlertState.OPEN).update(
            state=AlertState.RESOLVED, resolved_at=timezone.now(), resolve_after=None, inhibited_by=None
        )
        escalation.end(locked)
        tell([of_incident(locked, "resolved", f"Resolved by {actor}", why=reason, tone=Tone.OK, actor=actor)])


def add_note(incident: Incident, *, actor: Any, text: str) -> IncidentNote:
    """Keep what somebody found. Raises Refused without a text."""
    require(actor, Permission.ACKNOWLEDGE, incident)
    text = text.replace("\x00", "").strip()[:4_000]
    if len(text) < 3:
        raise Refused("Write what you found or decided.")
    with transaction.atomic(durable=True), acting(actor, reason=f"notes on incident {incident.pk}"):
        note = IncidentNote.objects.create(incident=incident, author=actor, text=text)
        tell(
            [of_incident(incident, "note", f"Note by {actor}", why=" ".join(text.split())[:300], actor=actor)]
        )
    return note


def may(user: Any, permission: str, place: Model | None) -> bool:
    """Whether `user` holds a permission on a place; on everything where there is none."""
    return scopes_of(user, permission).everything if place is None else allowed(user, permission, place)


def require_on(user: Any, permission: str, place: Model | None) -> None:
    """Pass, or raise as `require` does; without a place the permission on everything is needed."""
    if place is not None:
        require(user, permission, place)
    elif not scopes_of(user, permission).everything:
        label = Permission(permission).label
        raise PermissionDenied(
            f"You need the permission “{label}” on everything; ask whoever manages access."
        )


def silence(new: Silence, *, actor: Any) -> Silence:
    """Silence alerts of a place, or everywhere, until a time; open ones too. Raises Refused, Http404, PermissionDenied."""
    require_on(actor, Permission.MANAGE_ALERTS, new.instance or new.cell or new.account)
    new.reason = _reason(new.reason)
    if new.ends_at <= timezone.now():
        raise Refused("It would have ended already.")
    with transaction.atomic(durable=True), acting(actor, reason=new.reason):
        processing.wait_alone()
        new.author = actor
        new.save()
        muting.renew()
        _tell_silence(new, "silenced", f"Silenced until {new.ends_at:%Y-%m-%d %H:%M} UTC: {new}", actor)
    return new


def end_silence(found: Silence, *, actor: Any, now: datetime | None = None) -> None:
    """Hear of it again, at once. Raises Refused for one that has ended."""
    require_on(actor, Permission.MANAGE_ALERTS, found.instance or found.cell or found.account)
    now = now or timezone.now()
    with transaction.atomic(durable=True), acting(actor, reason="ends a silence"):
        processing.wait_alone()
        locked = Silence.objects.select_for_update().get(pk=found.pk)
        if locked.ends_at <= now:
            raise Refused("It has ended already.")
        locked.ends_at = max(now, locked.starts_at + timedelta(microseconds=1))
        locked.save()
        grouping.refresh(muting.renew())
        _tell_silence(locked, "unsilenced", f"Heard of again: {locked}", actor)


def _tell_silence(found: Silence, what: str, title: str, actor: Any) -> None:
    context: dict[str, Any] = {
        key: value for key, value in found.event_context().items() if value is not None
    }
    record([event(f"alerts.{what}", title, why=found.reason, actor=actor, **context)])


def _reason(text: str) -> str:
    reason = " ".join(text.replace("\x00", "").split())[:500]
    if len(reason) < 3:
        raise Refused("Say why, in a few words.")
    return reason
