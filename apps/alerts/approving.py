"""An answer that reaches many tenants waits for somebody to approve it."""

from collections.abc import Sequence
from typing import Any

from auditlog import get_logentry_model
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count
from django.utils import timezone

from apps.access import hands
from apps.access.choices import Permission, UserKind
from apps.access.scoping import require
from apps.core.choices import Tone
from apps.core.context import acting
from apps.fleet.models import Placement

from .choices import AlertState, DecisionState, Verdict
from .models import RecoveryDecision, RecoveryPolicy
from .models.recovery import DECLINED
from .nudging import nudge
from .services import Refused
from .telling import of_incident, tell

#: What of a policy says whether it acts, and nothing of what it does.
SWITCHES = frozenset({"is_enabled", "broken_at", "counts_from"})


def hold_large(decisions: Sequence[RecoveryDecision]) -> None:
    """Have decisions wait whose instance serves more tenants than their policy answers by itself. One query at most."""
    asked = [d for d in decisions if d.verdict == Verdict.ACT and d.policy.max_affected is not None]
    if not asked:
        return
    counts = dict(
        Placement.objects.filter(instance_id__in=[d.instance_id for d in asked])
        .order_by()
        .values_list("instance_id")
        .annotate(n=Count("*"))
    )
    for decision in asked:
        number = counts.get(decision.instance_id, 0)
        if number > (decision.policy.max_affected or 0):
            decision.state = DecisionState.WAITING
            decision.why = f"{number} tenants are served there, more than {decision.policy.max_affected}: {decision.why}"[
                :300
            ]


def decide(decision: RecoveryDecision, *, yes: bool, actor: Any) -> None:
    """Let a waiting answer be given, or not; a yes is for a second person beside who last set the policy.

    Raises Refused for one that no longer waits, Http404, PermissionDenied.
    """
    if decision.instance is None:
        raise Refused("The instance is gone.")
    require(actor, Permission.APPROVE, decision.instance)
    if yes and (first := set_by(decision.policy)) is not None:
        if first.pk == actor.pk:
            raise PermissionDenied("You set this recovery policy; ask a colleague who may approve.")
        if why := hands.objection(actor, first, Permission.APPROVE, decision.instance):
            raise PermissionDenied(why)
    if yes and (why := _needless(decision)):
        raise Refused(why)
    word = "approves" if yes else "declines"
    with transaction.atomic(durable=True), acting(actor, reason=f"{word} recovery {decision.pk}"):
        rows = RecoveryDecision.objects.filter(pk=decision.pk, state=DecisionState.WAITING)
        fields: dict[str, Any] = {"state": DecisionState.DECIDED, "approved_by": actor}
        if not yes:
            fields = {
                "state": DecisionState.CLOSED,
                "ended_at": timezone.now(),
                "result": f"{DECLINED}{actor}"[:300],
            }
        if not rows.update(**fields):
            raise Refused("It no longer waits for approval.")
        if decision.incident is not None:
            tone = Tone.BUSY if yes else Tone.WARN
            words = f"Recovery {'approved' if yes else 'declined'} by {actor}"
            tell(
                [
                    of_incident(
                        decision.incident, "recovery", words, why=str(decision.policy), tone=tone, actor=actor
                    )
                ]
            )
        transaction.on_commit(lambda: nudge("decide_recoveries"))


def _needless(decision: RecoveryDecision) -> str:
    """Why a waiting answer is not to be given any more; "" while it is."""
    policy, alert = decision.policy, decision.alert
    if not alert.is_open:
        return "The alert is resolved; there is nothing to answer any more."
    if policy.broken_at is not None:
        return "The policy's circuit breaker is open: its answers did not help."
    return "" if policy.is_enabled else "The policy is switched off."


def set_by(policy: RecoveryPolicy) -> Any:
    """The person who last said what the policy does, by the trail; None where that is no longer kept, or was no person.

    Who only switched it on or closed its breaker has not said that. Of very many such, the last 200 are looked through.
    """
    entries = get_logentry_model().objects.get_for_object(policy).filter(actor__kind=UserKind.PERSON)
    for entry in entries.select_related("actor").order_by("-pk")[:200]:
        if set(entry.changes or {}) - SWITCHES:
            return entry.actor
    return None


def close_needless() -> int:
    """Close answers that wait for approval although their alert is resolved; gives how many."""
    rows = RecoveryDecision.objects.filter(state=DecisionState.WAITING).exclude(alert__state=AlertState.OPEN)
    return rows.update(
        state=DecisionState.CLOSED,
        ended_at=timezone.now(),
        result="the alert was resolved before anybody approved",
    )
