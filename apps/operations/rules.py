"""Changing approval rules: what asks for more counts at once, what asks for less takes two people."""

from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from apps.access import explaining, hands, notices
from apps.access.choices import Permission, ScopeKind
from apps.access.scoping import scopes_of, visible
from apps.access.telling import link
from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record

from .choices import RuleChangeState
from .models import ApprovalRule, ApprovalRuleChange
from .plans import Refused

#: What a rule says. The note is shown, and decides nothing.
COLUMNS = ("kind", "min_targets", "scope_id", "from_hour", "to_hour", "zone", "is_enabled")
MIN_REASON = 3


def change_rule(edited: ApprovalRule, *, actor: Any, reason: str) -> ApprovalRuleChange | None:
    """Write a new or an edited rule, or propose the edit where the rule would ask for less; gives the proposal then.

    Belongs into the transaction of who calls (the admin's, which is durable). An edit that asks for more in one
    regard and for less in another is proposed whole. What waited for a second person and was proposed on a rule that
    said something else is overtaken.
    """
    _require(actor, Permission.FIX_DATA, "Changing approval rules")
    reason = _given(reason)
    with transaction.atomic(), acting(actor, reason=reason):
        if edited._state.adding:
            edited.save(force_insert=True)
            record([event("approval_rule.added", f"Approval rule “{edited}” counts from now on")])
            return None
        before = _locked(edited.pk)
        if weakens(before, edited):
            return _propose(before, wanted=_differing(before, edited), actor=actor, reason=reason)
        edited.save()
        for waiting in _waiting(edited.pk):
            if waiting.seen != says(edited):
                _end(waiting, RuleChangeState.OVERTAKEN, None)
        record([event("approval_rule.changed", f"Approval rule “{edited}” was changed, to ask for no less")])
    return None


def propose_end(rule: ApprovalRule, *, deletes: bool, actor: Any, reason: str) -> ApprovalRuleChange:
    """Ask that a rule goes, or rests. It asks on until a second person agrees (`decide_change`)."""
    _require(actor, Permission.FIX_DATA, "Changing approval rules")
    reason = _given(reason)
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        before = _locked(rule.pk)
        if not deletes and not before.is_enabled:
            raise Refused("It is off already.")
        wanted = {} if deletes else {"is_enabled": False}
        return _propose(before, wanted=wanted, deletes=deletes, actor=actor, reason=reason)


def decide_change(change: ApprovalRuleChange, *, yes: bool, actor: Any) -> ApprovalRuleChange:
    """Agree to a proposal, which is carried out then, or refuse it. Who proposed it may take it back, and never agrees.

    Raises PermissionDenied for who is no second person; Refused where it no longer waits, or where the rule says
    something else by now. Then nothing was changed.
    """
    if yes or actor.pk != change.proposed_by_id:
        _require(actor, Permission.APPROVE, "Deciding on approval rules")
    if yes and actor.pk == change.proposed_by_id:
        raise PermissionDenied("Nobody weakens an approval rule alone; ask a colleague who may approve.")
    if yes and (why := hands.objection(actor, change.proposed_by, Permission.APPROVE, None)):
        raise PermissionDenied(why)
    word = "agrees" if yes else "does not agree"
    with transaction.atomic(durable=True), acting(actor, reason=f"{word}: {change.reason}"[:500]):
        # The rule first, as everywhere: two who decide and change at once then wait for each other in one order.
        rule = ApprovalRule.objects.select_for_update().filter(pk=change.rule_ref).first()
        locked = ApprovalRuleChange.objects.select_for_update().get(pk=change.pk)
        if locked.state != RuleChangeState.WAITING:
            raise Refused(f"It waits no longer: {locked.get_state_display().lower()}.")
        if yes:
            _carry_out(locked, rule)
        _end(locked, RuleChangeState.AGREED if yes else RuleChangeState.REFUSED, actor)
        done = f"{'was taken away' if locked.deletes else 'asks for less from now on'}, by two people"
        title = f"Approval rule “{locked.label}” {done if yes else 'stays as it is'}"
        record([event(f"approval_rule.{locked.state}", title, tone=Tone.WARN if yes else Tone.PLAIN)])
    return locked


def weakens(before: ApprovalRule, after: ApprovalRule) -> bool:
    """Whether something that `before` asks a second person for would pass under `after`.

    What cannot be told from here counts as weaker: another place (a cell of the same account, say), other hours in
    another time zone. A rule that is off asks for nothing, so nothing weakens it.
    """
    if not before.is_enabled:
        return False
    return not (
        after.is_enabled
        and after.kind in ("", before.kind)
        and max(after.min_targets, 1) <= max(before.min_targets, 1)
        and (_is_anywhere(after) or after.scope_id == before.scope_id)
        and _covers_hours(before, after)
    )


def says(rule: ApprovalRule) -> dict[str, Any]:
    """What a rule asks for, to be compared when somebody decides."""
    return {name: getattr(rule, name) for name in COLUMNS}


def _is_anywhere(rule: ApprovalRule) -> bool:
    return rule.scope is None or rule.scope.kind == ScopeKind.EVERYTHING


def _covers_hours(before: ApprovalRule, after: ApprovalRule) -> bool:
    wide, narrow = _hours(after), _hours(before)
    if len(wide) == 24:
        return True
    return before.zone == after.zone and narrow <= wide


def _hours(rule: ApprovalRule) -> frozenset[int]:
    """The hours of the day at which it asks, in its zone; as `approvals` reads them."""
    begin, end = rule.from_hour, rule.to_hour
    if begin is None or end is None or begin == end:
        return frozenset(range(24))
    return frozenset(range(begin, end) if begin < end else [*range(begin, 24), *range(end)])


def _propose(
    rule: ApprovalRule, *, wanted: dict[str, Any], actor: Any, reason: str, deletes: bool = False
) -> ApprovalRuleChange:
    """Have a change wait, in place of what waited before; the same of the same person a second time is the first."""
    for waiting in _waiting(rule.pk):
        same = (waiting.wanted, waiting.deletes, waiting.proposed_by_id) == (wanted, deletes, actor.pk)
        if same and waiting.seen == says(rule):
            return waiting
        _end(waiting, RuleChangeState.OVERTAKEN, None)
    change = ApprovalRuleChange(
        rule_ref=rule.pk, label=str(rule)[:200], wanted=wanted, deletes=deletes, seen=says(rule),
        proposed_by=actor, reason=reason,
    )  # fmt: skip
    change.save()
    title = (
        f"Approval rule “{rule}” shall {'go' if deletes else 'ask for less'}, and waits for a second person"
    )
    record([event("approval_rule.proposed", title, tone=Tone.WARN)])
    _write_to_deciders(change)
    return change


def for_decision(user: Any) -> QuerySet[ApprovalRuleChange]:
    """The proposals that wait for somebody like `user`; none of their own."""
    if not scopes_of(user, Permission.APPROVE).everything:
        return ApprovalRuleChange.objects.none()
    waiting = visible(user, ApprovalRuleChange.objects.filter(state=RuleChangeState.WAITING))
    return waiting.exclude(proposed_by_id=user.pk)


def _write_to_deciders(change: ApprovalRuleChange) -> None:
    deciders = [
        one for one in explaining.holders(Permission.APPROVE, None) if one.pk != change.proposed_by_id
    ]
    what = "goes" if change.deletes else "asks for less"
    notices.write(
        deciders, f"{change.proposed_by} proposes that an approval rule {what}: {change.label}",
        f"Reason: {change.reason}\nUntil a second person agrees the rule stays as it is.\n\n"
        f"Decide: {link('operations:approval_rules')}",
    )  # fmt: skip


def _carry_out(change: ApprovalRuleChange, rule: ApprovalRule | None) -> None:
    if rule is None or says(rule) != change.seen:
        raise Refused(
            "The rule was changed since this was proposed; refuse it, and propose anew what is still wanted."
        )
    if change.deletes:
        rule.delete()
        return
    for name, value in change.wanted.items():
        setattr(rule, name, value)
    try:
        rule.full_clean(validate_unique=True)
    except ValidationError as error:
        raise Refused(" ".join(error.messages)) from error
    rule.save()


def _end(change: ApprovalRuleChange, state: RuleChangeState, actor: Any) -> None:
    change.state, change.decided_by, change.decided_at = state, actor, timezone.now()
    change.save()


def _differing(before: ApprovalRule, after: ApprovalRule) -> dict[str, Any]:
    names = (*COLUMNS, "note")
    return {name: getattr(after, name) for name in names if getattr(after, name) != getattr(before, name)}


def _locked(pk: int) -> ApprovalRule:
    found = ApprovalRule.objects.select_for_update().filter(pk=pk).first()
    if found is None:
        raise Refused("The rule is gone.")
    return found


def _waiting(rule_ref: int) -> list[ApprovalRuleChange]:
    rows = ApprovalRuleChange.objects.select_for_update()
    return list(rows.filter(rule_ref=rule_ref, state=RuleChangeState.WAITING))


def _require(actor: Any, permission: Permission, what: str) -> None:
    if not scopes_of(actor, permission).everything:
        raise PermissionDenied(
            f"{what} needs “{permission.label}” on everything; ask whoever manages access."
        )


def _given(reason: str) -> str:
    reason = " ".join(reason.split())[:500]
    if len(reason) < MIN_REASON:
        raise Refused("Say why, in a few words: the reason stands in the audit trail.")
    return reason
