"""The two-person rule: which policy asks for a second person, and what has changed since the first one asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.db.models import Q
from django.utils import timezone

from apps.access.choices import ScopeKind
from apps.access.models import Scope

from .choices import State
from .kinds import Kind, TargetInfo, find_target
from .models import ApprovalRule, Operation


def rule_for(kind: Kind, targets: Sequence[TargetInfo], now: datetime | None = None) -> ApprovalRule | None:
    """The rule that asks for a second person for `kind` on `targets` now; of several the one for the most targets."""
    now = now or timezone.now()
    rules = ApprovalRule.objects.filter(
        Q(kind="") | Q(kind=kind.name), is_enabled=True, min_targets__lte=len(targets)
    )
    for rule in rules.select_related("scope").order_by("-min_targets", "-kind", "pk"):
        touched = sum(1 for info in targets if rule.scope is None or _lies_in(info, rule.scope))
        if touched >= max(rule.min_targets, 1) and _is_hour(rule, now):
            return rule
    return None


def _lies_in(info: TargetInfo, scope: Scope) -> bool:
    where = {
        ScopeKind.ACCOUNT: info.account_id,
        ScopeKind.CELL: info.cell_id,
        ScopeKind.TENANT: info.tenant_id,
    }
    return scope.kind == ScopeKind.EVERYTHING or where.get(ScopeKind(scope.kind)) == scope.object_id


def _is_hour(rule: ApprovalRule, now: datetime) -> bool:
    """Whether the rule's hours are now; from 18 to 8 is the night."""
    if rule.from_hour is None or rule.to_hour is None or rule.from_hour == rule.to_hour:
        return True
    hour = now.astimezone(ZoneInfo(rule.zone)).hour
    if rule.from_hour < rule.to_hour:
        return rule.from_hour <= hour < rule.to_hour
    return hour >= rule.from_hour or hour < rule.to_hour


def facts_of(kind: Kind, targets: Sequence[TargetInfo]) -> Mapping[int, Mapping[str, str]]:
    """What the targets are like now, by id, to be compared when somebody decides."""
    return find_target(kind.target_type).facts([info.id for info in targets])


@dataclass(frozen=True, slots=True)
class Change:
    """One fact then and now."""

    name: str
    before: str
    after: str


def changed_since(operation: Operation) -> list[Change]:
    """What of its target is not as it was when it was asked for; nothing once it waits no more."""
    if operation.state != State.AWAITING_APPROVAL or not operation.seen:
        return []
    facts = find_target(operation.target_type).facts
    now = facts([operation.target_id]).get(operation.target_id, {})
    return [
        Change(name, before, now.get(name, "gone"))
        for name, before in operation.seen.items()
        if now.get(name, "gone") != before
    ]
