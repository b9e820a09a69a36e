"""Renewal by itself, when two thirds of a certificate's life are over: one cell of an account at a time.

A failed rotation holds the account for an hour, so that what breaks one instance does not reach the next; what
has less than a day left is tried all the same, since it would be down tomorrow anyway.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404
from django.utils import timezone

from apps.access.choices import Permission, ScopeKind
from apps.access.models import Role
from apps.access.scoping import require, scopes_of
from apps.access.services import give_grant, scope_for, system_actor
from apps.core.context import acting
from apps.operations import services
from apps.operations.choices import OPEN, State, Via
from apps.operations.models import Operation

from ..choices import Wanted
from ..models import Certificate, RenewalPolicy
from .issuers import held_cells
from .judging import due_at
from .rotating import NAME

ROLE = "renewal"
HOLD = timedelta(hours=1)
URGENT = timedelta(days=1)


def save_policy(policy: RenewalPolicy, *, actor: Any) -> RenewalPolicy:
    """Keep a policy, and let the actor `certificates` deploy there: who orders it must hold that right there too.

    Raises ValidationError, Http404, PermissionDenied.
    """
    if policy.account is not None:
        require(actor, Permission.DEPLOY, policy.account)
    elif not scopes_of(actor, Permission.DEPLOY).everything:
        raise PermissionDenied(
            "To renew everywhere takes the permission to deploy on everything; name an account."
        )
    policy.full_clean()
    with transaction.atomic(durable=True), acting(actor, reason=f"keeps the {policy}"):
        policy.save()
        role, _ = Role.objects.get_or_create(
            name=ROLE,
            defaults={
                "description": "What the renewal of certificates may do.",
                "permissions": [str(Permission.VIEW), str(Permission.DEPLOY)],
            },
        )
        kind = ScopeKind.ACCOUNT if policy.account else ScopeKind.EVERYTHING
        give_grant(
            to=system_actor("certificates"), role=role, scope=scope_for(kind, policy.account), actor=actor,
            reason=str(policy),
        )  # fmt: skip
    return policy


def renew(now: datetime | None = None) -> int:
    """Ask for the rotations that are due; gives how many. Again within the hour asks for nothing twice."""
    now = now or timezone.now()
    policies = {p.account_id: p for p in RenewalPolicy.objects.filter(is_enabled=True)}
    if not policies:
        return 0
    due: dict[int, list[Certificate]] = defaultdict(list)
    rows = Certificate.objects.filter(
        is_ours=True, not_after__isnull=False, error="", instance__wanted=Wanted.RUNNING
    ).select_related("instance__cell__region")
    found = list(rows.filter(not_after__lt=now + timedelta(days=400)).order_by("not_after")[:5_000])
    # An issuer that limits its orders is asked again once that is over.
    held = held_cells({row.instance.cell_id: row.instance.cell for row in found}.values())
    for row in found:
        account = row.instance.cell.region.account_id
        policy = policies.get(account) or policies.get(None)
        if (
            policy
            and row.instance.cell_id not in held
            and row.not_before
            and row.not_after
            and due_at(row.not_before, row.not_after, policy.share) <= now
        ):
            due[account].append(row)
    return sum(
        _renew_account(account, rows_due, policies.get(account) or policies[None], now)
        for account, rows_due in due.items()
    )


def _renew_account(account: int, due: Sequence[Certificate], policy: RenewalPolicy, now: datetime) -> int:
    """The next few of one account: of the cell under way, else of the cell whose certificate ends first."""
    rotations = Operation.objects.filter(kind=NAME, account_id=account)
    under_way = list(rotations.filter(state__in=OPEN).values_list("cell_id", "target_id"))
    failed = rotations.filter(
        state=State.FAILED, actor=system_actor("certificates"), finished_at__gt=now - HOLD
    )
    if failed.exists():
        due = [row for row in due if row.not_after and row.not_after - now < URGENT]
    busy = {target for _, target in under_way}
    due = [row for row in due if row.instance_id not in busy]
    if not due:
        return 0
    cells = {cell for cell, _ in under_way} or {due[0].instance.cell_id}
    room = policy.at_once - len(under_way)
    chosen = [row for row in due if row.instance.cell_id in cells][: max(0, room)]
    return sum(_ask(row, now) for row in chosen)


def _ask(row: Certificate, now: datetime) -> int:
    assert row.not_after is not None  # noqa: S101 - only those that were seen are due
    try:
        services.submit(
            kind=NAME,
            target_id=row.instance_id,
            params={},
            actor=system_actor("certificates"),
            reason=f"its certificate ends {row.not_after:%Y-%m-%d}, and most of its life is over",
            idempotency_key=f"renew:{row.instance_id}:{row.fingerprint[:16]}:{now:%Y%m%d%H}",
            via=Via.SYSTEM,
        )
    except (services.Refused, PermissionDenied, Http404):
        return 0  # locked, held or not allowed any more: its end alerts in time
    return 1
