"""Telling people, one step after the other, until somebody acknowledges.

A step is taken by a conditional UPDATE of the escalation's `turn`; the message of the step is a row of the outbox,
written in the same transaction, unique for incident and turn. So a step that two workers take is taken once.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.urls import reverse
from django.utils import timezone

from apps.access.services import system_actor
from apps.core.choices import Tone
from apps.core.context import acting

from .choices import JUMP, AlertState, EscalationState, IncidentState, PageState, at_least
from .models import Channel, Escalation, EscalationPolicy, EscalationStep, Incident, Page
from .nudging import nudge
from .rotations import on_call, within
from .telling import of_incident, tell

#: Seconds after which a step that reached nobody gives way to the next of its round.
NOBODY = 1


def begin(incident: Incident, *, is_worse: bool = False) -> None:
    """Start telling of an incident, in the caller's transaction; once, and not of one that somebody has acknowledged.

    Where no policy fits, that is told on its timeline; `find_policies` looks again. One that became worse is told of by
    the policy that fits it now, from its first step if it is another one, or if nobody was left to tell.
    """
    if incident.state != IncidentState.TRIGGERED:
        return
    known = Escalation.objects.filter(incident=incident).first()
    if known is None:
        _begin(incident, policy_for(incident))
    elif known.state == EscalationState.NOBODY:
        _take_up(known, policy_for(incident))
    elif is_worse:
        _worse(known, incident, policy_for(incident))


def _begin(incident: Incident, policy: EscalationPolicy | None) -> None:
    state = EscalationState.ACTIVE if policy else EscalationState.NOBODY
    Escalation.objects.create(incident=incident, policy=policy, state=state, next_at=timezone.now())
    if policy is None:
        why = f"no escalation policy fits it: {incident.get_severity_display().lower()}, {_where(incident)}"
        tell([of_incident(incident, "untold", "Nobody is told", why=why, tone=Tone.BAD)])
    else:
        transaction.on_commit(lambda: nudge("escalate"))


def _where(incident: Incident) -> str:
    names = sorted(set(incident.alerts.values_list("account__name", flat=True)) - {None})
    # Of several, who sees the incident through one of them need not know the others by name.
    return f"in {names[0]}" if len(names) == 1 else f"in {len(names) or 'no'} account{'s' if names else ''}"


def _take_up(known: Escalation, policy: EscalationPolicy | None) -> bool:
    """A policy fits now: have it begin; whether it does."""
    mine = Escalation.objects.filter(pk=known.pk, state=EscalationState.NOBODY)
    if policy is None or not mine.update(policy=policy, state=EscalationState.ACTIVE, next_at=timezone.now()):
        return False
    transaction.on_commit(lambda: nudge("escalate"))
    return True


def _worse(known: Escalation, incident: Incident, policy: EscalationPolicy | None) -> None:
    now, mine = timezone.now(), Escalation.objects.filter(pk=known.pk, turn=known.turn)
    is_over = known.state == EscalationState.EXHAUSTED
    if policy is not None and (policy.pk != known.policy_id or is_over):
        going = mine.filter(state__in=[EscalationState.ACTIVE, EscalationState.EXHAUSTED])
        if not going.update(policy=policy, state=EscalationState.ACTIVE, began=known.turn, next_at=now):
            return
    elif known.turn == known.began:  # quiet hours may have held it
        mine.filter(state=EscalationState.ACTIVE).update(next_at=now)
    word = incident.get_severity_display().lower()
    why = f"{policy} tells of it" if policy else ""
    tell([of_incident(incident, "worse", f"It became {word}", why=why, tone=Tone.BAD)])
    transaction.on_commit(lambda: nudge("escalate"))


def find_policies() -> int:
    """Look again for policies of incidents that none fitted; gives how many are told of now. Three queries, if none is."""
    rows = Escalation.objects.filter(
        state=EscalationState.NOBODY, incident__state=IncidentState.TRIGGERED
    ).select_related("incident")
    waiting = list(rows.order_by("id")[:500])
    policies = (
        list(EscalationPolicy.objects.filter(is_enabled=True).order_by("rank", "pk")) if waiting else []
    )
    if not policies:
        return 0
    accounts: dict[int, set[int]] = {}
    alerts = Incident.objects.filter(pk__in=[e.incident_id for e in waiting], alerts__account__isnull=False)
    for pk, account in alerts.order_by().values_list("pk", "alerts__account_id").distinct():
        accounts.setdefault(pk, set()).add(account)
    found = 0
    for known in waiting:
        policy = choose(policies, known.incident.severity, accounts.get(known.incident_id, set()))
        if policy is not None:
            with transaction.atomic(durable=True):
                found += _take_up(known, policy)
    return found


def policy_for(incident: Incident) -> EscalationPolicy | None:
    """The policy of an incident: of those that fit, the lowest rank. Two queries."""
    accounts = set(incident.alerts.values_list("account_id", flat=True)) - {None}
    rows = EscalationPolicy.objects.filter(is_enabled=True).order_by("rank", "pk")
    return choose(rows, incident.severity, accounts)


def choose(
    policies: Iterable[EscalationPolicy], severity: str, accounts: Collection[int | None]
) -> EscalationPolicy | None:
    """Of policies in order, the first that tells of an incident as bad as this in one of these accounts."""
    return next(
        (
            p
            for p in policies
            if severity in at_least(p.min_severity) and (p.account_id is None or p.account_id in accounts)
        ),
        None,
    )


def end(incident: Incident, state: str = EscalationState.ENDED) -> None:
    """Stop telling, in the caller's transaction: what is not sent yet is not sent."""
    going = [EscalationState.ACTIVE, EscalationState.NOBODY]
    Escalation.objects.filter(incident=incident, state__in=going).update(state=state)
    Page.objects.filter(incident=incident, state=PageState.PENDING).update(
        state=PageState.CANCELLED, ended_at=timezone.now()
    )


def escalate(now: datetime | None = None) -> int:
    """Take every step that is due; gives how many messages were written."""
    now = now or timezone.now()
    _after_a_jump(now)
    due = Escalation.objects.filter(state=EscalationState.ACTIVE, next_at__lte=now).order_by("next_at")
    written = 0
    for escalation in due.select_related("incident", "policy")[:500]:
        with acting(system_actor("alerts"), reason="", via="system"), transaction.atomic(durable=True):
            written += _step(escalation, now)
    if written:
        nudge("send_pages")
    return written


def _after_a_jump(now: datetime) -> None:
    """Have steps taken whose time no step could have put so far ahead: the clock was wrong when they were put off."""
    rows = Escalation.objects.filter(state=EscalationState.ACTIVE, next_at__gt=now + JUMP)
    for pk, next_at, wait in rows.values_list("pk", "next_at", Max("policy__steps__wait"))[:500]:
        if next_at > now + JUMP + timedelta(seconds=wait or 0):
            rows.filter(pk=pk, next_at=next_at).update(next_at=now)


def _step(escalation: Escalation, now: datetime) -> int:
    """Take one step, if nobody else has; 1 when it wrote a message."""
    incident, policy = escalation.incident, escalation.policy
    steps = list(policy.steps.select_related("schedule", "channel")) if policy else []
    mine = Escalation.objects.filter(pk=escalation.pk, state=EscalationState.ACTIVE, turn=escalation.turn)
    if policy and (_is_quiet(policy, incident, now) or _is_muted(escalation)):
        mine.update(next_at=now + timedelta(minutes=1))
        return 0
    taken = escalation.turn - escalation.began
    if not steps or policy is None or taken >= len(steps) * (1 + policy.repeats):
        if mine.update(state=EscalationState.EXHAUSTED):
            why = (
                "every step was taken and nobody acknowledged"
                if steps
                else "the escalation policy has no steps"
            )
            tell([of_incident(incident, "exhausted", "Nobody left to tell", why=why, tone=Tone.BAD)])
        return 0
    step = steps[taken % len(steps)]
    recipient, channels = _whom(step, now)
    # Who comes next is told at once; a round that reached nobody is not begun again before it would have been.
    is_last = (taken + 1) % len(steps) == 0
    wait = step.wait if channels or is_last else NOBODY
    if not mine.update(turn=escalation.turn + 1, next_at=now + timedelta(seconds=wait)):
        return 0
    whom = str(recipient or step.channel or step.schedule)
    if not channels:
        why = (
            f"{whom} has no channel that is enabled" if recipient else f"nobody is on call on {step.schedule}"
        )
        tell(
            [
                of_incident(
                    incident, "unreached", f"Step {step.position} reached nobody", why=why, tone=Tone.WARN
                )
            ]
        )
        return 0
    title, body = words(incident)
    Page.objects.create(
        incident=incident, turn=escalation.turn, recipient=recipient, channels=channels, title=title, body=body,
        next_at=now,
    )  # fmt: skip
    why = f"step {step.position} of {policy}" + (", again" if taken >= len(steps) else "")
    tell([of_incident(incident, "paged", f"{whom} is told", why=why, tone=Tone.WARN)])
    return 1


def _is_quiet(policy: EscalationPolicy, incident: Incident, now: datetime) -> bool:
    """Quiet hours: nobody is told of what is less bad than the policy says."""
    quiet = within(now, policy.zone, policy.quiet_from, policy.quiet_until)
    return quiet and incident.severity not in at_least(policy.quiet_below)


def _is_muted(escalation: Escalation) -> bool:
    """Whether nobody is to be told for now: all of its open alerts are silenced or explained, or none is open any more.

    What mended itself before anybody was told is told all the same, once.
    """
    rows = escalation.incident.alerts.filter(state=AlertState.OPEN).order_by()
    by = rows.values_list("silence_id", "inhibited_by_id").distinct()
    muted = [bool(silence or inhibitor) for silence, inhibitor in by]
    return all(muted) if muted else escalation.turn > 0


def _whom(step: EscalationStep, now: datetime) -> tuple[Any | None, list[int]]:
    """The person of a step (None for a team's channel) and the channels to try, in order."""
    if step.channel is not None:
        return None, [step.channel.pk] if step.channel.is_enabled else []
    person = on_call(step.schedule, now) if step.schedule else None
    if person is None:
        return None, []
    return person, list(
        Channel.objects.filter(owner=person, is_enabled=True)
        .order_by("rank", "pk")
        .values_list("pk", flat=True)
    )


def words(incident: Incident) -> tuple[str, str]:
    """Title and text of a page: what is wrong, since when, where to look."""
    url = f"{settings.DAYTWO_URL.rstrip('/')}{reverse('alerts:incident', args=[incident.pk])}"
    title = f"[{incident.get_severity_display()}] {incident.title}"[:300]
    lines = [
        incident.title,
        f"Severity: {incident.get_severity_display().lower()}",
        f"Since: {incident.opened_at:%Y-%m-%d %H:%M:%S} UTC",
    ]
    open_alerts = list(incident.alerts.filter(resolved_at__isnull=True).order_by("id")[:5])
    lines += [f"- {alert}" for alert in open_alerts]
    return title, "\n".join([*lines, url])
