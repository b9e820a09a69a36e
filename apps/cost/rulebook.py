"""Versions of the rules: drafted, previewed, activated; and periods allocated again by them."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import duckdb
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, Max, OuterRef, Sum
from django.utils import timezone

from apps.access.models import User
from apps.access.services import system_actor
from apps.core.context import acting
from apps.core.events import event, record
from apps.tenants.models import Tenant

from . import allocating, grouping, store
from .choices import SetState
from .duck import connected
from .locks import Lock, hold
from .models import Bill, DayCost, Rule, RuleSet, Run, Statement

logger = logging.getLogger(__name__)


class NotActivated(Exception):
    """A draft cannot become what counts; the message says why."""


def draft(*, actor: User) -> RuleSet:
    """The draft; where there is none, a new version that begins as a copy of the active one."""
    found = RuleSet.objects.filter(state=SetState.DRAFT).first()
    if found is not None:
        return found
    with transaction.atomic(), acting(actor):
        former = allocating.active_rules()
        newest = RuleSet.objects.aggregate(last=Max("version"))["last"]
        made = RuleSet.objects.create(version=newest + 1)
        for rule in former.rules.all():
            rule.pk, rule.ruleset = None, made
            rule._state.adding = True
            rule.save()
        return made


def add_rule(*, actor: User, position: int | None = None, **values: Any) -> Rule:
    """Add a rule to the draft, at the end or at a position (1 is first). Raises ValidationError."""
    with transaction.atomic(), acting(actor):
        ruleset = draft(actor=actor)
        rule = Rule(ruleset=ruleset, position=_next_position(ruleset), **values)
        rule.full_clean()
        rule.save()
        if position is not None:
            move_rule(rule, position, actor=actor)
        return rule


def _next_position(ruleset: RuleSet) -> int:
    return (ruleset.rules.aggregate(last=Max("position"))["last"] or 0) + 1


def remove_rule(rule: Rule, *, actor: User) -> None:
    """Take a rule out of the draft. Raises ValidationError for one that counted or counts."""
    if rule.ruleset.state != SetState.DRAFT:
        raise ValidationError("Only a draft's rules can be changed; draft a new version.")
    with transaction.atomic(), acting(actor):
        rule.delete()


def move_rule(rule: Rule, position: int, *, actor: User) -> None:
    """Give a draft's rule another place in the order."""
    if rule.ruleset.state != SetState.DRAFT:
        raise ValidationError("Only a draft's rules can be changed; draft a new version.")
    with transaction.atomic(), acting(actor):
        rules = [one for one in rule.ruleset.rules.order_by("position") if one.pk != rule.pk]
        rules.insert(max(0, position - 1), rule)
        # Out of each other's way first: a position is taken once.
        for offset in (10_000, 1):
            for number, one in enumerate(rules):
                one.position = number + offset
                one.save(update_fields=["position", "updated_at"])


def discard_draft(*, actor: User) -> None:
    """Throw the draft away."""
    with transaction.atomic(), acting(actor):
        for ruleset in RuleSet.objects.filter(state=SetState.DRAFT):
            ruleset.delete()


@dataclass(frozen=True, slots=True)
class Preview:
    """What a draft would change: sums by rule, and sums by tenant before and after, of one currency each."""

    period: date | None
    totals: Mapping[str, tuple[Decimal, Decimal, Decimal]]
    by_rule: list[tuple[str, str, Decimal]]


def preview(ruleset: RuleSet, period: date | None = None) -> Preview:
    """Allocate the bills of a month (the newest period's, where none is given) without writing anything.

    `totals` by currency: to tenants, overhead, unallocated.
    """
    statements = Statement.objects.filter(is_current=True).select_related("bill")
    period = period or statements.aggregate(last=Max("period_start"))["last"]
    totals: dict[str, tuple[Decimal, Decimal, Decimal]] = {}
    sums: dict[tuple[int, str], Decimal] = {}
    rules = list(ruleset.rules.select_related("tenant"))
    for bill, own in _by_bill(list(statements.filter(**_in_month("period_start", period)))).items():
        with connected() as duck:
            grouping.group(duck, allocating.open_lines(duck, bill), rules)
            made = allocating.make_facts(duck, [(one.pk, one) for one in own], rules)
            for one in own:
                before = totals.get(one.currency, (Decimal(0),) * 3)
                new = (made[one.pk].allocated, made[one.pk].overhead, made[one.pk].unallocated)
                totals[one.currency] = (before[0] + new[0], before[1] + new[1], before[2] + new[2])
            rows = duck.execute(
                "SELECT coalesce(rule, 0), currency, sum(billed) FROM facts GROUP BY 1, 2"
            ).fetchall()
            for rule, currency, billed in rows:
                sums[rule, currency] = sums.get((rule, currency), Decimal(0)) + billed
    words = {rule.pk: rule.in_words() for rule in rules} | {0: "no rule: unallocated"}
    order = [*(rule.pk for rule in rules), 0]
    return Preview(
        period,
        totals,
        [
            (words[pk], currency, sums[pk, currency])
            for pk in order
            for (one, currency) in sorted(sums)
            if one == pk
        ],
    )


def _in_month(column: str, period: date | None) -> dict[str, int]:
    """Conditions on a date column; no row where there is no period."""
    return {
        f"{column}__year": period.year if period else 1,
        f"{column}__month": period.month if period else 1,
    }


def totals_now(period: date | None) -> dict[str, tuple[Decimal, Decimal, Decimal]]:
    """What counts of a period, by currency: to tenants, overhead, unallocated."""
    rows = Run.objects.filter(is_current=True, **_in_month("statement__period_start", period)).order_by()
    sums = rows.values_list("statement__currency").annotate(
        a=Sum("allocated"), o=Sum("overhead"), u=Sum("unallocated")
    )
    return {currency: (a, o, u) for currency, a, o, u in sums}


def _by_bill(statements: list[Statement]) -> dict[Bill, list[Statement]]:
    found: dict[Bill, list[Statement]] = {}
    for statement in statements:
        found.setdefault(statement.bill, []).append(statement)
    return found


def activate(ruleset: RuleSet, *, actor: User, note: str) -> None:
    """Make a draft what counts, from now on and for every period imported; periods follow one by one.

    Raises NotActivated for a version that is no draft, or whose fixed shares name tenants there are none of.
    """
    if not note.strip():
        raise NotActivated("Say what changes and why, in a few words.")
    known = set(Tenant.objects.values_list("key", flat=True))
    for rule in ruleset.rules.all():
        if missing := sorted(set(rule.shares) - known):
            raise NotActivated(
                f"Rule {rule.position} shares with {', '.join(missing[:3])}: there is no such tenant."
            )
    with transaction.atomic(durable=True), acting(actor, reason=note):
        allocating.active_rules()
        former = RuleSet.objects.select_for_update().filter(state=SetState.ACTIVE).first()
        current = RuleSet.objects.select_for_update().get(pk=ruleset.pk)
        if current.state != SetState.DRAFT:
            raise NotActivated(f"Version {current.version} is no draft.")
        if former is not None:
            former.state = SetState.RETIRED
            former.save()
        current.state, current.note, current.activated_at = SetState.ACTIVE, note[:300], timezone.now()
        current.save()
        record([event("cost_rules.activated", f"Allocation rules version {current.version} are active")])
        transaction.on_commit(_nudge)


def _nudge() -> None:
    # Late: an actor can be made only once the broker is there.
    from . import actors

    actors.allocate_stale.send()


def stale() -> list[int]:
    """Current statements that count by another version than the active one, or whose sub-accounts were placed since."""
    rows = Statement.objects.filter(is_current=True, bill__state="imported")
    moved = DayCost.objects.filter(run=OuterRef("pk"), sub_account__updated_at__gt=OuterRef("created_at"))
    fresh = Run.objects.filter(is_current=True, ruleset__state=SetState.ACTIVE).exclude(Exists(moved))
    rows = rows.exclude(runs__in=fresh)
    return list(rows.order_by("-period_start", "pk").values_list("pk", flat=True))


def allocate_stale() -> None:
    """Allocate again whatever counts by a former version; each bill is one transaction, so a killed worker loses one.

    A bill that cannot be (its file is gone, a pool is too large to share out) is logged, counts as before and is tried
    again at the next hint; it stops no other.
    """
    with acting(system_actor("bills"), reason="allocation rules changed", via="system"):
        for bill in list(_by_bill(list(Statement.objects.filter(pk__in=stale()).select_related("bill")))):
            try:
                allocate_again(bill)
            except (allocating.Unbalanced, duckdb.Error, store.Unusable, OSError):
                logger.exception(
                    "bill %s could not be allocated by the new rules and counts by the former", bill
                )


def allocate_again(bill: Bill) -> None:
    """Allocate a bill's current statements by the active rules; the former result stays, to compare."""
    with transaction.atomic():
        hold(Lock.MONEY)
        statements = list(bill.statements.filter(is_current=True))
        if statements:
            with connected() as duck:
                ruleset, rules = allocating.rules_that_count()
                grouping.group(duck, allocating.open_lines(duck, bill), rules)
                allocating.allocate_groups(duck, statements, ruleset, rules)
