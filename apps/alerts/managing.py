"""Who is told and what recovers: sources, heartbeats, channels, schedules, policies; made and changed by people."""

import uuid
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404
from django.utils import timezone

from apps.access.choices import Permission, ScopeKind
from apps.access.models import Role, User
from apps.access.scoping import scopes_of
from apps.access.services import give_grant, scope_for, system_actor
from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record

from . import certificates, health, heartbeats, intake, seals, security_clock
from .choices import PageState, Remedy, SignalState, SourceKind
from .models import (
    Channel,
    EscalationPolicy,
    EscalationStep,
    Heartbeat,
    OnCallMember,
    OnCallSchedule,
    Page,
    RecoveryPolicy,
    Source,
)
from .nudging import nudge
from .recovery import SOURCE, breaker_signal
from .rules import evaluating
from .runbooks import reading, running
from .sending import check_address
from .services import Refused, require_on

#: What a remedy needs, of the person who orders it and of who carries it out.
NEEDED = {
    Remedy.RESTART: Permission.RESTART,
    Remedy.START: Permission.RESTART,
    Remedy.ROLL_BACK: Permission.DEPLOY,
}
RECOVERY_ROLE = "recovery"
#: Names under which the portal itself speaks: under one of them a source could resolve what the portal sees.
RESERVED = frozenset(
    {
        SOURCE,
        health.SOURCE,
        heartbeats.SOURCE,
        certificates.SOURCE,
        evaluating.SOURCE,
        security_clock.SOURCE,
        "(unknown)",
    }
)


def make_source(*, name: str, kind: str, account: Any, actor: Any) -> tuple[Source, str]:
    """A source and its token or signing secret, which is shown this once."""
    require_on(actor, Permission.MANAGE_ALERTS, account)
    if name in RESERVED:
        raise Refused(f"“{name}” is the portal's own voice; give the source another name.")
    secret = seals.new_token()
    source = Source(name=name, kind=kind, account=account)
    if kind == SourceKind.WEBHOOK:
        source.secret_sealed = seals.seal(secret)
    else:
        source.token_hash = seals.token_hash(secret)
    with transaction.atomic(durable=True), acting(actor, reason=f"adds the source {name}"):
        source.save()
    return source, secret


def make_heartbeat(new: Heartbeat, *, actor: Any) -> tuple[Heartbeat, uuid.UUID]:
    """A heartbeat and the token in its address, which is shown this once."""
    require_on(actor, Permission.MANAGE_ALERTS, new.account)
    token = uuid.uuid4()
    new.token_hash = seals.token_hash(str(token))
    with transaction.atomic(durable=True), acting(actor, reason=f"expects the heartbeat {new.name}"):
        new.save()
    return new, token


def may_change_channel(channel: Channel, user: Any) -> bool:
    """One's own channels, and all of them for who manages alerts on everything."""
    return channel.owner_id == user.pk or scopes_of(user, Permission.MANAGE_ALERTS).everything


def save_channel(channel: Channel, *, address: str, actor: Any) -> Channel:
    """Keep a channel; an empty address leaves it as it is. `env:NAME` names a variable of the workers' environment.

    Only who manages alerts on everything may name a variable, or keep a channel that is not their own.
    Raises Refused for an address that cannot be used; it is not repeated.
    """
    if not may_change_channel(channel, actor):
        require_on(actor, Permission.MANAGE_ALERTS, None)
    address = address.strip()
    if address.startswith("env:"):
        require_on(actor, Permission.MANAGE_ALERTS, None)
        channel.url_from, channel.url_sealed, channel.scheme = (
            address.removeprefix("env:").strip()[:80],
            "",
            "env",
        )
        if not channel.url_from.startswith("DAYTWO_CHANNEL_"):
            raise Refused(
                "The variable's name has to begin with DAYTWO_CHANNEL_, so that no other secret can be named."
            )
    elif address:
        try:
            channel.scheme = check_address(address)
        except ValueError as error:
            raise Refused(str(error)) from error
        channel.url_sealed, channel.url_from = seals.seal(address), ""
    elif not channel.pk:
        raise Refused("Give the address of the channel.")
    with transaction.atomic(durable=True), acting(actor, reason=f"keeps the channel {channel.name}"):
        channel.save()
    return channel


def test_channel(channel: Channel, *, actor: Any) -> Page:
    """Put a test message into the outbox; its attempts show on the channels' page."""
    if not may_change_channel(channel, actor):
        raise Http404("No such channel.")
    with transaction.atomic(durable=True), acting(actor, reason=f"tests the channel {channel.name}"):
        page = Page.objects.create(
            recipient=channel.owner, channels=[channel.pk], title="Test from Daytwo",
            body=f"{actor} tests the channel “{channel.name}”. Nothing is wrong.",
        )  # fmt: skip
        record([event("alerts.test", f"Channel {channel.name} is tested", actor=actor)])
        transaction.on_commit(lambda: nudge("send_pages"))
    return page


def last_tests(channels: Sequence[Channel]) -> dict[int, Page]:
    """By channel, its latest test; one query and one for the attempts."""
    wanted = {c.pk for c in channels}
    rows = Page.objects.filter(incident__isnull=True).order_by("-id").prefetch_related("deliveries")[:200]
    found: dict[int, Page] = {}
    for page in rows:
        if page.channels and page.channels[0] in wanted:
            found.setdefault(page.channels[0], page)
    return found


def is_over(page: Page) -> bool:
    """Whether nothing more will be tried."""
    return page.state in (PageState.SENT, PageState.FAILED, PageState.CANCELLED)


def save_schedule(schedule: OnCallSchedule, *, people: Sequence[User], actor: Any) -> OnCallSchedule:
    """Keep a schedule and the order of its people. Raises ValidationError, PermissionDenied."""
    require_on(actor, Permission.MANAGE_ALERTS, None)
    schedule.full_clean()
    with transaction.atomic(durable=True), acting(actor, reason=f"keeps the schedule {schedule.name}"):
        schedule.save()
        schedule.members.all().delete()
        OnCallMember.objects.bulk_create(
            [OnCallMember(schedule=schedule, user=user, position=i) for i, user in enumerate(people, start=1)]
        )
    return schedule


def save_escalation(
    policy: EscalationPolicy, *, steps: Sequence[EscalationStep], actor: Any
) -> EscalationPolicy:
    """Keep an escalation policy and its steps, in order. Raises ValidationError, PermissionDenied."""
    require_on(actor, Permission.MANAGE_ALERTS, None)
    policy.full_clean()
    with transaction.atomic(durable=True), acting(actor, reason=f"keeps the escalation policy {policy.name}"):
        policy.save()
        policy.steps.all().delete()
        for position, step in enumerate(steps, start=1):
            step.pk, step.policy, step.position = None, policy, position
            step.save()
    return policy


def save_recovery(policy: RecoveryPolicy, *, actor: Any) -> RecoveryPolicy:
    """Keep a recovery policy, and let `recovery` do there what the remedy needs; no more, and nowhere else.

    Who orders it must hold both “manage alerts” and the remedy's own permission there: nobody has a policy do what
    they may not do themselves. Raises ValidationError, Http404, PermissionDenied.
    """
    policy.full_clean()
    place = policy.cell or policy.account
    require_on(actor, Permission.MANAGE_ALERTS, place)
    needed = _needed(policy)
    for permission in needed:
        require_on(actor, permission, place)
    with transaction.atomic(durable=True), acting(actor, reason=f"keeps the recovery policy {policy.name}"):
        policy.save()
        role = _role(needed)
        kind = (
            ScopeKind.CELL if policy.cell else ScopeKind.ACCOUNT if policy.account else ScopeKind.EVERYTHING
        )
        give_grant(
            to=system_actor("recovery"), role=role, scope=scope_for(kind, place), actor=actor,
            reason=f"recovery policy “{policy.name}”",
        )  # fmt: skip
    return policy


def _needed(policy: RecoveryPolicy) -> list[str]:
    """What its answer takes. Raises ValidationError for a runbook that asks for what has no default."""
    if policy.remedy != Remedy.RUNBOOK:
        return [str(NEEDED[Remedy(policy.remedy)])]
    version = policy.runbook.versions.order_by("-number").first() if policy.runbook else None
    if version is None:
        raise ValidationError({"runbook": "Choose the runbook to run."})
    try:
        definition = running.definition_of(version)
        definition.clean({})
    except reading.Malformed as error:
        raise ValidationError(
            {"runbook": [f"It cannot run by itself: {words}" for words in error.complaints]}
        ) from error
    return running.permissions_of(definition) or [str(Permission.RESTART)]


def _role(needed: Sequence[str]) -> Role:
    """What `recovery` gets: the usual remedies' rights, with diagnostics only where a runbook collects them."""
    rights = [Permission.VIEW, Permission.RESTART, Permission.DEPLOY]
    name, words = RECOVERY_ROLE, "What recovery policies may do."
    if Permission.DIAGNOSE in needed:
        rights, name, words = (
            [*rights, Permission.DIAGNOSE],
            f"{RECOVERY_ROLE} with diagnostics",
            "… with diagnostics.",
        )
    role, _ = Role.objects.get_or_create(
        name=name, defaults={"description": words, "permissions": [str(right) for right in rights]}
    )
    return role


def switch_recovery(policy: RecoveryPolicy, *, on: bool, actor: Any) -> None:
    """Let a policy act, or not."""
    require_on(actor, Permission.MANAGE_ALERTS, policy.cell or policy.account)
    word = "enables" if on else "disables"
    with transaction.atomic(durable=True), acting(actor, reason=f"{word} the recovery policy {policy.name}"):
        policy.is_enabled = on
        policy.save()


def close_breaker(policy: RecoveryPolicy, *, actor: Any) -> None:
    """Let a policy act again after its recoveries did not help; counting begins anew. Raises Refused when it is closed."""
    require_on(actor, Permission.MANAGE_ALERTS, policy.cell or policy.account)
    with transaction.atomic(durable=True), acting(actor, reason=f"closes the breaker of {policy.name}"):
        if not RecoveryPolicy.objects.filter(pk=policy.pk, broken_at__isnull=False).update(
            broken_at=None, counts_from=timezone.now()
        ):
            raise Refused("Its breaker is closed.")
        policy.refresh_from_db()
        last = policy.decisions.select_related("alert").order_by("-id").first()
        intake.write(SOURCE, [breaker_signal(policy, SignalState.RESOLVED, last)])
        record(
            [
                event(
                    "recovery.breaker_closed",
                    f"Breaker of {policy} closed",
                    tone=Tone.OK,
                    actor=actor,
                    at=timezone.now(),
                )
            ]
        )
