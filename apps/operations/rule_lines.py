"""What the page of the approval rules shows: each rule, and what of it waits for a second person."""

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied

from apps.access.choices import Permission
from apps.access.scoping import scopes_of, visible

from .choices import RuleChangeState
from .models import ApprovalRule, ApprovalRuleChange

#: Rules, and decided proposals, that the page shows.
RULES, DECIDED = 200, 20
NAMES = {
    "kind": "kind",
    "min_targets": "from so many targets",
    "scope_id": "place",
    "from_hour": "from hour",
    "to_hour": "to hour",
    "zone": "time zone",
    "is_enabled": "on",
    "note": "note",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A rule; the change that waits, in words; whether the reader may say yes or no to it."""

    rule: ApprovalRule
    change: ApprovalRuleChange | None
    words: list[str]
    may_agree: bool
    may_refuse: bool


@dataclass(frozen=True, slots=True)
class RulesPage:
    """All that the page shows."""

    lines: list[Line]
    decided: list[ApprovalRuleChange]
    may_change: bool


def rules_page(user: Any) -> RulesPage:
    """The company's rules. Raises PermissionDenied for who does not see everything."""
    if not scopes_of(user, Permission.VIEW).everything:
        raise PermissionDenied("Approval rules are the whole company's: they take “View” on everything.")
    changes = visible(user, ApprovalRuleChange.objects.select_related("proposed_by", "decided_by"))
    waiting = {change.rule_ref: change for change in changes.filter(state=RuleChangeState.WAITING)}
    may_approve = scopes_of(user, Permission.APPROVE).everything
    lines = []
    for rule in visible(user, ApprovalRule.objects.select_related("scope"))[:RULES]:
        change = waiting.get(rule.pk)
        is_own = change is not None and change.proposed_by_id == user.pk
        lines.append(
            Line(
                rule,
                change,
                words_of(change) if change else [],
                may_agree=change is not None and may_approve and not is_own,
                may_refuse=change is not None and (may_approve or is_own),
            )
        )
    return RulesPage(
        lines=lines,
        decided=list(changes.exclude(state=RuleChangeState.WAITING)[:DECIDED]),
        may_change=scopes_of(user, Permission.FIX_DATA).everything,
    )


def words_of(change: ApprovalRuleChange) -> list[str]:
    """What a change would do, each column then and now."""
    if change.deletes:
        return ["it goes"]
    return [
        f"{NAMES.get(name, name)}: {_word(change.seen[name])} → {_word(value)}"
        if name in change.seen
        else f"{NAMES.get(name, name)}: {_word(value)}"
        for name, value in change.wanted.items()
    ]


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "any" if value in (None, "") else str(value)
